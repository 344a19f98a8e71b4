package dlq

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The example in the documentation is a file as it is written.
func TestDocumentedExample(t *testing.T) {
	src, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	var lines []string
	for line := range strings.Lines(string(src)) {
		if example, ok := strings.CutPrefix(strings.TrimSpace(line), "//\t{\"crc\""); ok {
			lines = append(lines, `{"crc"`+example)
		}
	}
	require.Len(t, lines, 2)
	header, err := checkLine([]byte(lines[0]))
	require.NoError(t, err)
	require.True(t, header)
	h, err := parseHeader([]byte(lines[0]))
	require.NoError(t, err)
	require.Equal(t, lines[0]+"\n", string(appendHeader(nil, h)))
	_, err = checkLine([]byte(lines[1]))
	require.NoError(t, err)
	e, err := parseLetter([]byte(lines[1]))
	require.NoError(t, err)
	require.Equal(t, lines[1]+"\n", string(appendLetter(nil, &e)))
	require.Equal(t, OriginID(e.TopicID, e.Partition, e.Offset), e.ID)
}
