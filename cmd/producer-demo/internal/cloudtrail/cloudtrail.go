// Package cloudtrail reads AWS CloudTrail records as audit events, following the CloudTrail record
// contents (event version 1.08 to 1.10):
//
//	tenant    eventSource; the data has one account, so the service stands in for the tenant
//	action    eventSource's first label and eventName: iam.CreateUser
//	actor     userIdentity: its arn, or principalId, or invokedBy
//	entity    the first of resources, or the request's own parameter that looks like an id
//	new       requestParameters
//	metadata  what else tells what happened: region, error, response, the record's own id
//	outcome   errorCode: none is success, those that speak of access are denied, the others failure
//	request   sourceIPAddress, userAgent, requestID
//	time      eventTime
package cloudtrail

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/firetrail/firetrail"
)

// record is the part of a CloudTrail record that is read.
type record struct {
	EventTime    time.Time `json:"eventTime"`
	EventSource  string    `json:"eventSource"`
	EventName    string    `json:"eventName"`
	UserIdentity struct {
		Type        string `json:"type"`
		ARN         string `json:"arn"`
		PrincipalID string `json:"principalId"`
		InvokedBy   string `json:"invokedBy"`
		UserName    string `json:"userName"`
	} `json:"userIdentity"`
	SourceIPAddress   string          `json:"sourceIPAddress"`
	UserAgent         string          `json:"userAgent"`
	RequestID         string          `json:"requestID"`
	RequestParameters json.RawMessage `json:"requestParameters"`
	Resources         []struct {
		ARN  string `json:"ARN"`
		Type string `json:"type"`
	} `json:"resources"`
	metadata

	Records json.RawMessage `json:"Records"`
}

// metadata keeps CloudTrail's own names.
type metadata struct {
	EventID          string          `json:"eventID,omitempty"`
	AWSRegion        string          `json:"awsRegion,omitempty"`
	EventType        string          `json:"eventType,omitempty"`
	ReadOnly         bool            `json:"readOnly"`
	ErrorCode        string          `json:"errorCode,omitempty"`
	ErrorMessage     string          `json:"errorMessage,omitempty"`
	ResponseElements json.RawMessage `json:"responseElements,omitempty"`
}

// Decode reads one record. The event has no id: whoever fires it gives it one.
func Decode(line []byte) (firetrail.Event, error) {
	var r record
	if err := json.Unmarshal(line, &r); err != nil {
		return firetrail.Event{}, fmt.Errorf("not a CloudTrail record: %w", err)
	}
	if err := r.check(); err != nil {
		return firetrail.Event{}, err
	}
	service, _, _ := strings.Cut(r.EventSource, ".")
	action, err := firetrail.ParseName(service + "." + r.EventName)
	if err != nil {
		return firetrail.Event{}, fmt.Errorf("eventSource, eventName: %w", err)
	}
	meta, err := json.Marshal(r.withoutNull())
	if err != nil {
		return firetrail.Event{}, fmt.Errorf("responseElements: %w", err)
	}
	e := firetrail.Event{
		Tenant: r.EventSource, Action: action, Actor: r.actor(), Entity: r.entity(),
		Metadata: firetrail.Raw(meta), Outcome: r.outcome(), Time: r.EventTime,
		Request: firetrail.Request{IP: r.SourceIPAddress, UserAgent: r.UserAgent, ID: r.RequestID},
	}
	if !isNull(r.RequestParameters) {
		e.New = firetrail.Raw(r.RequestParameters)
	}
	return e, e.Validate()
}

func (r *record) check() error {
	switch {
	case r.EventSource == "" && r.EventName == "" && len(r.Records) > 0:
		return errors.New("not one record but a file of Records; jq -c '.Records[]' makes lines of it")
	case r.EventSource == "":
		return errors.New("eventSource: missing; not a CloudTrail record")
	case r.EventName == "":
		return errors.New("eventName: missing; not a CloudTrail record")
	case r.EventTime.IsZero():
		return errors.New("eventTime: missing; not a CloudTrail record")
	}
	return nil
}

func isNull(b json.RawMessage) bool { return len(b) == 0 || string(b) == "null" }

func (r *record) withoutNull() metadata {
	if isNull(r.ResponseElements) {
		r.ResponseElements = nil
	}
	return r.metadata
}

func (r *record) actor() firetrail.Actor {
	u := &r.UserIdentity
	a := firetrail.Actor{Type: u.Type, Name: u.UserName}
	for _, id := range []string{u.ARN, u.PrincipalID, u.InvokedBy} {
		if id != "" {
			a.ID = id
			break
		}
	}
	if a.Type == "" && a.ID == u.InvokedBy && a.ID != "" {
		a.Type = "AWSService"
	}
	return a
}

func (r *record) outcome() firetrail.Outcome {
	switch code := r.ErrorCode; {
	case code == "":
		return firetrail.Success
	case strings.Contains(code, "AccessDenied"), strings.Contains(code, "Unauthorized"), strings.Contains(code, "Forbidden"):
		return firetrail.Denied
	}
	return firetrail.Failure
}
