package dlq

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// A file's name is {tenant}_{unixms}_{random}{state}. It is read from the right, so a tenant may have
// underscores in it. The time is unique within a process and never goes back, so that names sort as the
// files were put.

// state is what the end of a file's name says.
type state string

const (
	stateWaiting    state = ".batch"
	stateProcessing state = ".batch.processing"
	stateDead       state = ".batch.dead"
	stateDamaged    state = ".batch.damaged"
	stateTemp       state = ".tmp"
)

// kind of letters that a file in this state holds.
func (s state) kind() Kind {
	switch s {
	case stateDead:
		return Dead
	case stateDamaged:
		return Damaged
	default:
		return Waiting
	}
}

type fileName struct {
	tenant string // escaped
	ms     int64
	random string // 16 hex digits
	state  state
}

func newFileName(tenant string, ms int64, s state) fileName {
	return fileName{tenant: escapeTenant(tenant), ms: ms, random: randomPart(), state: s}
}

func randomPart() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}

func (n fileName) String() string {
	return n.tenant + "_" + strconv.FormatInt(n.ms, 10) + "_" + n.random + string(n.state)
}

// in returns the name with another state.
func (n fileName) in(s state) fileName {
	n.state = s
	return n
}

// again returns a new name for letters of the same tenant and age.
func (n fileName) again(s state) fileName {
	n.random, n.state = randomPart(), s
	return n
}

// before reports whether n's letters are older than o's.
func (n fileName) before(o fileName) int {
	if n.ms != o.ms {
		if n.ms < o.ms {
			return -1
		}
		return 1
	}
	return strings.Compare(n.random, o.random)
}

// parseFileName reads a name; ok is false for files that are none of ours.
func parseFileName(s string) (n fileName, ok bool) {
	for _, st := range []state{stateWaiting, stateProcessing, stateDead, stateDamaged, stateTemp} {
		if rest, found := strings.CutSuffix(s, string(st)); found {
			s, n.state = rest, st
			break
		}
	}
	i := strings.LastIndexByte(s, '_')
	if n.state == "" || i < 0 {
		return fileName{}, false
	}
	s, n.random = s[:i], s[i+1:]
	if i = strings.LastIndexByte(s, '_'); i < 0 || len(n.random) != 16 || strings.Trim(n.random, "0123456789abcdef") != "" {
		return fileName{}, false
	}
	ms, err := strconv.ParseUint(s[i+1:], 10, 62)
	n.tenant, n.ms = s[:i], int64(ms)
	return n, err == nil
}

// maxTenantPart keeps a name below the 255 bytes that file systems allow.
const maxTenantPart = 120

// escapeTenant makes a tenant fit for a file name everywhere: lower-case letters, digits, '-' (not
// first) and '_' stand for themselves, every other byte is %xx. So no tenant can be a path, a hidden
// file, an option or a device, and two that differ in case only stay apart where the file system ignores
// it. A long one is cut, and told apart by a hash behind a '~', which nothing else is escaped to.
func escapeTenant(tenant string) string {
	var b strings.Builder
	for i := 0; i < len(tenant) && b.Len() <= maxTenantPart; i++ {
		c := tenant[i]
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-' && i > 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02x", c)
	}
	if b.Len() <= maxTenantPart {
		return b.String()
	}
	sum := sha256.Sum256([]byte(tenant))
	cut := b.String()[:maxTenantPart-33]
	if i := strings.LastIndexByte(cut, '%'); i > len(cut)-3 {
		cut = cut[:i]
	}
	return cut + "~" + hex.EncodeToString(sum[:16])
}
