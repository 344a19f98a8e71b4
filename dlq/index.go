package dlq

import "sync"

// Total is a number of files with what is in them.
type Total struct {
	Files, Letters int
	Bytes          int64
}

func (t *Total) add(m fileMeta, sign int) {
	t.Files += sign
	t.Letters += sign * m.letters
	t.Bytes += int64(sign) * m.bytes
}

// fileMeta is what is known of a file without reading it whole.
type fileMeta struct {
	name    fileName
	bytes   int64
	letters int // as its header says; 0 while that wasn't read

	copied, stubs int  // of these, as its header says
	keepOut       bool // it is damaged: it is neither discarded nor copied from
}

// metaOf is what is known of a file with a header.
func metaOf(n fileName, bytes int64, h *fileHeader) fileMeta {
	return fileMeta{name: n, bytes: bytes, letters: h.Letters, copied: h.Copied, stubs: h.Stubs}
}

// uncopied reports whether it is one of dead letters of some of which the topic has nothing.
func (m *fileMeta) uncopied() bool {
	return m.name.state == stateDead && !m.keepOut && m.letters > m.copied+m.stubs
}

// index is what is in the directory as of the last listing, kept up by what this process does itself.
// What other processes do shows with the next listing.
type index struct {
	mu       sync.Mutex
	files    map[string]fileMeta
	total    [Damaged + 1]Total
	reserved Total // room promised to a Put that is about to rename its files
}

func newIndex() *index { return &index{files: map[string]fileMeta{}} }

// put adds or replaces a file. mu must be held.
func (x *index) put(m fileMeta) {
	x.drop(m.name)
	x.files[m.name.String()] = m
	x.total[m.name.state.kind()].add(m, 1)
}

// drop removes a file. mu must be held.
func (x *index) drop(n fileName) {
	if old, ok := x.files[n.String()]; ok {
		delete(x.files, n.String())
		x.total[n.state.kind()].add(old, -1)
	}
}

// used is what counts against the budgets. mu must be held.
func (x *index) used() (files int, bytes int64) {
	files, bytes = x.reserved.Files, x.reserved.Bytes
	for _, t := range x.total {
		files += t.Files
		bytes += t.Bytes
	}
	return files, bytes
}

// select returns the files in a state, in no order.
func (x *index) in(s state) []fileMeta {
	x.mu.Lock()
	defer x.mu.Unlock()
	var files []fileMeta
	for _, m := range x.files {
		if m.name.state == s {
			files = append(files, m)
		}
	}
	return files
}
