package consumer

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStoresAndCommits(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		sent := w.events(300, 0)
		w.events(200, 1)
		r := w.start(nil)
		w.awaitStored(500)
		w.awaitCommitted(0, 300)
		w.awaitCommitted(1, 200)
		require.NoError(t, r.Ready())
		for i, row := range w.sink.Rows()[:1] {
			require.Equal(t, sent[i].ID, row.ID)
		}
		r.stop()
		w.noLetters()
	})
}
