package consumer

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/dlq"
)

// smallTopic takes letters whose values are at most some bytes together.
type smallTopic struct {
	most int
	got  []dlq.Letter
}

func (s *smallTopic) Put(_ context.Context, letters []dlq.Letter) error {
	size := 0
	for _, l := range letters {
		size += len(l.Value)
	}
	if size <= s.most {
		s.got = append(s.got, letters...)
		return nil
	}
	err := &dlq.TopicError{Topic: "small"}
	for i, l := range letters {
		err.Failed = append(err.Failed, &dlq.LetterError{Index: i, ID: l.ID, Err: kerr.MessageTooLarge})
	}
	return err
}

func TestLetterTooLargeForItsTopic(t *testing.T) {
	letterOf := func(size int) *letter {
		return &letter{
			item: item{part: &partition{}, rec: &kgo.Record{Key: []byte("k"), Value: make([]byte, size)}},
			err:  errors.New("no event"),
		}
	}
	for _, stub := range []bool{true, false} {
		topic := &smallTopic{most: 100}
		letters := []*letter{letterOf(80), letterOf(500), letterOf(90)}
		failed, err := topicForm{topic: topic, stub: stub}.put(context.Background(), letters)
		require.Equal(t, stub, letters[1].stubbed)
		require.False(t, letters[0].stubbed || letters[2].stubbed, "they were too large only together")
		if !stub {
			require.Error(t, err)
			require.Equal(t, map[int]bool{1: true}, failed)
			require.Len(t, topic.got, 2)
			continue
		}
		require.NoError(t, err)
		require.Len(t, topic.got, 3)
		require.Empty(t, topic.got[1].Value)
		require.Contains(t, topic.got[1].Error, "500 bytes")
		p := &postman{}
		letters[1].inTopic = true
		p.topic = topicForm{}
		require.False(t, p.safe(letters[1]), "a stub alone keeps nothing")
		letters[1].inDir = true
		require.True(t, p.safe(letters[1]))
	}
}
