package producertest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/producer"
	"github.com/firetrail/firetrail/producer/producertest"
)

type course struct {
	Title string `json:"title"`
}

var created = firetrail.NewAction[course]("course.created")

type auditor interface {
	Fire(context.Context, firetrail.Event)
	Emit(context.Context, firetrail.Event, producer.Ack) error
}

var (
	_ auditor = (*producertest.Recorder)(nil)
	_ auditor = (*producer.Producer)(nil)
)

func TestRecorder(t *testing.T) {
	var r producertest.Recorder
	ctx := firetrail.WithContext(context.Background(), firetrail.Context{Tenant: "acme", Actor: firetrail.Actor{ID: "u-1"}})
	c := course{"Go"}
	r.Fire(ctx, created.Event(firetrail.Input[course]{Entity: firetrail.Entity{ID: "c-1"}, New: &c}))
	c.Title = "changed afterwards"
	require.NoError(t, r.Emit(ctx, created.Event(firetrail.Input[course]{Tenant: "other"}), producer.OnDisk))
	events := r.Of(created.Name())
	require.Len(t, events, 2)
	require.Equal(t, "acme", events[0].Tenant)
	require.Equal(t, "u-1", events[0].Actor.ID)
	require.Equal(t, "course", events[0].Entity.Type)
	require.JSONEq(t, `{"title":"Go"}`, string(events[0].New.Bytes()))
	require.EqualValues(t, 1, events[0].Seq)
	require.Positive(t, events[1].ID.Compare(events[0].ID))

	r.Fire(ctx, firetrail.Event{})
	require.Len(t, r.Bad(), 1)
	require.ErrorContains(t, r.Bad()[0], "action")
	r.Err = errors.New("no")
	require.ErrorIs(t, r.Emit(ctx, created.Event(firetrail.Input[course]{}), producer.OnDisk), r.Err)
	require.Len(t, r.Events(), 2)
	r.Reset()
	require.Empty(t, r.Events())
}

func ExampleRecorder() {
	var audit producertest.Recorder
	createCourse := func(ctx context.Context, audit auditor, title string) {
		audit.Fire(ctx, created.Event(firetrail.Input[course]{New: &course{Title: title}}))
	}
	createCourse(context.Background(), &audit, "Go")
	e := audit.Events()[0]
	fmt.Println(e.Action, string(e.New.Bytes()))
	// Output: course.created {"title":"Go"}
}
