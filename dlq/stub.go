package dlq

import (
	"fmt"
	"strings"
)

const (
	stubNote   = " are more than the topic of letters takes: they are in the directory of letters)"
	maxStubKey = 1 << 10
)

// Stub returns the letter without the bytes of its record, for a topic that doesn't take one so large. Its
// Error says where they are.
func (l Letter) Stub() Letter {
	l.Error += fmt.Sprintf(" (its %d bytes", len(l.Value)) + stubNote
	l.Value, l.Headers = nil, nil
	if len(l.Key) > maxStubKey {
		l.Key = nil
	}
	return l
}

func (l *Letter) isStub() bool { return l.Value == nil && strings.HasSuffix(l.Error, stubNote) }
