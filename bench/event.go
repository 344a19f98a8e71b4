package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/firetrail/firetrail"
)

// topic is where events go.
const topic = "audit.events"

// user is what changed: the same in all candidates, as JSON that is there already or as a struct.
type user struct {
	Email  string  `json:"email"`
	Role   string  `json:"role"`
	Active bool    `json:"active"`
	Age    int     `json:"age"`
	Score  float64 `json:"score"`
}

// sample is the event that everybody records.
type sample struct {
	tenant, action, actor, entity, ip, agent, request string
	before, after                                     user
	beforeJSON, afterJSON                             json.RawMessage
}

func newSample() *sample {
	s := &sample{
		tenant: "tenant-0042", action: "user.updated", actor: "usr_01HZX3", entity: "usr_01HZX9",
		ip: "203.0.113.7", agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0 Safari/537.36",
		request: "0192f0c1-7b2e-7abc-8def-0123456789ab",
		before:  user{"alice@example.com", "viewer", true, 41, 0.75},
		after:   user{"alice@example.org", "admin", false, 42, 0.8},
	}
	s.beforeJSON, _ = json.Marshal(&s.before) // a struct of texts and numbers always can
	s.afterJSON, _ = json.Marshal(&s.after)
	return s
}

var userUpdated = firetrail.NewAction[user]("user.updated")

// context is a request's, as a middleware makes it.
func (s *sample) context() context.Context {
	return firetrail.WithContext(context.Background(), firetrail.Context{
		Tenant: s.tenant, Actor: firetrail.Actor{Type: "user", ID: s.actor},
		Request: firetrail.Request{IP: s.ip, UserAgent: s.agent, ID: s.request},
	})
}

func (s *sample) raw() firetrail.Event {
	return firetrail.Event{
		Action: userUpdated.Name(), Entity: firetrail.Entity{ID: s.entity},
		Old: firetrail.Raw(s.beforeJSON), New: firetrail.Raw(s.afterJSON),
	}
}

func (s *sample) structs() firetrail.Event {
	return userUpdated.Event(firetrail.Input[user]{Entity: firetrail.Entity{ID: s.entity}, Old: &s.before, New: &s.after})
}

// plain is the event as one would write it for encoding/json.
type plain struct {
	ID        string          `json:"id"`
	Tenant    string          `json:"tenant"`
	Action    string          `json:"action"`
	ActorType string          `json:"actor_type"`
	Actor     string          `json:"actor"`
	Entity    string          `json:"entity"`
	Old       json.RawMessage `json:"old"`
	New       json.RawMessage `json:"new"`
	IP        string          `json:"ip"`
	Agent     string          `json:"user_agent"`
	Request   string          `json:"request_id"`
	Time      time.Time       `json:"time"`
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func (s *sample) marshal() []byte {
	b, _ := json.Marshal(&plain{
		newID(), s.tenant, s.action, "user", s.actor, s.entity, s.beforeJSON, s.afterJSON, s.ip, s.agent, s.request, time.Now(),
	})
	return b
}
