package show

import (
	"fmt"
	"io"

	"github.com/firetrail/firetrail"
)

// JSON prints one event a line as a CloudEvents 1.0 object, the form they have in Kafka; what reads it
// there reads it here.
type JSON struct {
	Out io.Writer
	buf []byte
}

// Page prints events.
func (j *JSON) Page(events []firetrail.Event) error {
	j.buf = j.buf[:0]
	for i := range events {
		var err error
		if j.buf, err = events[i].AppendCloudEvent(j.buf); err != nil {
			return fmt.Errorf("event %s: %w", events[i].ID, err)
		}
		j.buf = append(j.buf, '\n')
	}
	_, err := j.Out.Write(j.buf)
	return err
}
