package firetrail_test

import (
	"context"
	"fmt"

	"github.com/firetrail/firetrail"
)

type Course struct {
	ID    string `json:"id"`
	Title string `json:"title"`
}

// Actions are declared once, with the type of the values they change.
var CourseRenamed = firetrail.NewAction[Course]("course.renamed")

func ExampleNewAction() {
	before, after := Course{"c-1", "Audti"}, Course{"c-1", "Audit"}
	e := CourseRenamed.Event(firetrail.Input[Course]{
		Entity: firetrail.Entity{ID: after.ID},
		Old:    &before,
		New:    &after,
	})
	// p.Fire(ctx, e) with a producer; here, what it says.
	fmt.Println(e.Action, e.Entity.ID, e.Outcome)
	// Output: course.renamed c-1 success
}

func ExampleWithContext() {
	// A middleware says once what every event of the request has in common …
	ctx := firetrail.WithContext(context.Background(), firetrail.Context{
		Tenant:  "acme",
		Request: firetrail.Request{IP: "203.0.113.7"},
	})
	// … and whoever learns more adds it.
	c, _ := firetrail.FromContext(ctx)
	c.Actor = firetrail.Actor{Type: "user", ID: "u-1"}
	ctx = firetrail.WithContext(ctx, c)

	c, _ = firetrail.FromContext(ctx)
	e := CourseRenamed.Event(firetrail.Input[Course]{Entity: firetrail.Entity{ID: "c-1"}}).WithContext(&c)
	fmt.Println(e.Tenant, e.Actor.ID, e.Request.IP, e.Entity.Type)
	// Output: acme u-1 203.0.113.7 course
}

func ExampleParseName() {
	// Where actions come from outside, as in an import, they are checked when they come in.
	for _, s := range []string{"iam.CreateUser", "CreateUser", "iam.Create User"} {
		name, err := firetrail.ParseName(s)
		if err != nil {
			fmt.Println(err)
			continue
		}
		e := firetrail.Event{Action: name, Metadata: firetrail.Raw([]byte(`{"import":7}`))}
		fmt.Println(e.Action, e.Action.Noun())
	}
	// Output:
	// iam.CreateUser iam
	// action: "CreateUser" has no verb; want noun.verb, such as "course.created"
	// action: ' ' at byte 10 of "iam.Create User"; want labels of letters, digits, '_' and '-' with dots between
}
