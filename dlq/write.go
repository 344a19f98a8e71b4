package dlq

import (
	"bufio"
	"errors"
	"fmt"
)

// fileWriter writes one file under a temporary name. It promises nothing before finish.
type fileWriter struct {
	d      *Dir
	name   fileName // the temporary one
	file   writeFile
	out    *bufio.Writer
	line   []byte
	header fileHeader
	bytes  int64
	// reserved says that room for it is kept in the index, until it has its name or is abandoned.
	reserved bool
}

// create begins a file that holds what h says.
func (d *Dir) create(name fileName, h fileHeader) (*fileWriter, error) {
	h.Version = formatVersion
	w := &fileWriter{d: d, name: name.in(stateTemp), header: h}
	f, err := d.fs.Create(d.path(w.name))
	if err != nil {
		return nil, err
	}
	w.file, w.out = f, bufio.NewWriterSize(f, 64<<10)
	w.line = appendHeader(nil, h)
	return w, w.write()
}

func (w *fileWriter) write() error {
	n, err := w.out.Write(w.line)
	w.bytes += int64(n)
	return err
}

// letter adds a letter.
func (w *fileWriter) letter(e *entry) error {
	w.line = appendLetter(w.line[:0], e)
	if len(w.line) > maxLine {
		return fmt.Errorf("letter %s makes a line of %d bytes, and %d are the most", e.ID, len(w.line), maxLine)
	}
	return w.write()
}

// raw adds a letter's line as it was read.
func (w *fileWriter) raw(line []byte) error {
	w.line = append(append(w.line[:0], line...), '\n')
	return w.write()
}

// finish makes what was written durable, still under the temporary name.
func (w *fileWriter) finish() error {
	if w.file == nil {
		return nil
	}
	err := w.out.Flush()
	if err == nil {
		err = w.file.Sync()
	}
	err = errors.Join(err, w.file.Close())
	w.file, w.out, w.line = nil, nil, nil
	return err
}

// unreserve gives back the room that was kept for the file. The index must be locked.
func (w *fileWriter) unreserve() {
	if w.reserved {
		w.reserved = false
		w.d.index.reserved.Files--
		w.d.index.reserved.Bytes -= w.bytes
	}
}

// abandon removes what was written. It is a no-op after publish.
func (w *fileWriter) abandon() {
	if w == nil || w.name.state != stateTemp {
		return
	}
	w.d.index.mu.Lock()
	w.unreserve()
	w.d.index.mu.Unlock()
	if w.file != nil {
		_ = w.file.Close() // its content is of no use to anybody
	}
	_ = w.d.fs.Remove(w.d.path(w.name)) // or it goes as a stale one
}

// publish gives a finished file its name. It is durable once the directory is synced.
func (w *fileWriter) publish(name fileName) error {
	w.d.index.mu.Lock()
	defer w.d.index.mu.Unlock()
	if err := w.d.fs.Rename(w.d.path(w.name), w.d.path(name)); err != nil {
		return err
	}
	w.name = name
	w.unreserve()
	w.d.index.put(metaOf(name, w.bytes, &w.header))
	return nil
}

// rename gives a file another name.
func (d *Dir) rename(from, to fileName) error {
	d.index.mu.Lock()
	defer d.index.mu.Unlock()
	if err := d.fs.Rename(d.path(from), d.path(to)); err != nil {
		return err
	}
	m := d.index.files[from.String()]
	d.index.drop(from)
	m.name = to
	d.index.put(m)
	return nil
}

// remove removes a file.
func (d *Dir) remove(n fileName) error {
	d.index.mu.Lock()
	defer d.index.mu.Unlock()
	if err := d.fs.Remove(d.path(n)); err != nil {
		return err
	}
	d.index.drop(n)
	return nil
}
