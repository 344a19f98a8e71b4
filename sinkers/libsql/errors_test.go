package libsql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/sinkers"
)

const statement = "INSERT INTO t VALUES ('NOT NULL constraint failed')"

// TestKindsOfTexts: these are the client library's texts, as it made them of what a server said. Over HTTP it
// begins with its own words, over WebSocket it repeats the statement.
func TestKindsOfTexts(t *testing.T) {
	for said, want := range map[string]struct {
		permanent, stale, fromDatabase bool
		kind                           error
	}{
		"SQLite error: NOT NULL constraint failed: t.a":                                {permanent: true, fromDatabase: true},
		"SQLite error: CHECK constraint failed: c < 1000000":                           {permanent: true, fromDatabase: true},
		"SQLite error: UNIQUE constraint failed: t.c":                                  {permanent: true, fromDatabase: true},
		"SQLite error: FOREIGN KEY constraint failed":                                  {permanent: true, fromDatabase: true},
		"SQLite error: cannot store INT value in BLOB column t.b":                      {permanent: true, fromDatabase: true},
		"SQLite error: datatype mismatch":                                              {permanent: true, fromDatabase: true},
		"SQLite error: string or blob too big":                                         {permanent: true, fromDatabase: true},
		"SQLite error: malformed JSON":                                                 {permanent: true, fromDatabase: true},
		"Arguments do not match SQL parameters: string or blob too big":                {permanent: true, fromDatabase: true},
		"SQLite error: database is locked":                                             {fromDatabase: true},
		"SQLite error: database or disk is full":                                       {fromDatabase: true},
		"SQLite error: disk I/O error":                                                 {fromDatabase: true},
		"SQLite error: database disk image is malformed":                               {fromDatabase: true},
		"SQLite error: attempt to write a readonly database":                           {fromDatabase: true},
		"SQLite error: interrupted":                                                    {fromDatabase: true},
		"SQLite error: out of memory":                                                  {fromDatabase: true},
		"SQLite error: no such table: nope":                                            {fromDatabase: true},
		"SQLite error: Transaction timed-out":                                          {fromDatabase: true},
		"SQL string could not be parsed: syntax error around L1:8: `INSERTT`":          {fromDatabase: true},
		"Operation was blocked: the plan's quota is used up":                           {},
		"Response is too large":                                                        {fromDatabase: true},
		"error code 401: Unauthorized: `The JWT is invalid`":                           {kind: ErrUnauthorized},
		"error code 401: Unauthorized: `The JWT has expired`":                          {kind: ErrUnauthorized},
		"error code 401: Unauthorized: `Expected authorization header but none given`": {kind: ErrUnauthorized},
		"handshake error: Authentication failed: The JWT is invalid":                   {kind: ErrUnauthorized},
		"error code 403: Authorization forbidden: Current session doesn't not have Write permission to namespace default": {kind: ErrForbidden},
		"error code 404: Namespace `nope` doesn't exist":                                                                  {kind: ErrNoDatabase},
		"error code 400: ":                                  {stale: true},
		"error code 400: Received an invalid baton":         {stale: true},
		"error code STREAM_EXPIRED: the stream has expired": {stale: true},
		"error code 400: something else":                    {},
		"error code 500: Internal server error":             {},
		"error code 429: Too many requests":                 {},
		"error code 503: ":                                  {},
		`Post "http://127.0.0.1:1/v2/pipeline": dial tcp 127.0.0.1:1: connect: connection refused`:                    {},
		"driver: bad connection: failed to read JSON message: failed to get reader: failed to read frame header: EOF": {},
		"stream is closed: driver: bad connection":                                                                    {},
		"whatever may come": {},
		"":                  {},
	} {
		for _, frame := range []string{"failed to execute SQL:\n%s", "unable to execute " + statement + ": %s", "%s"} {
			err := explain(fmt.Errorf(frame, said), statement)
			require.Error(t, err)
			if want.stale {
				require.Equal(t, driver.ErrBadConn, err, said)
				continue
			}
			require.NotErrorIs(t, err, driver.ErrBadConn)
			require.NotContains(t, err.Error(), statement)
			require.Equal(t, want.permanent, sinkers.IsPermanent(sorted(err)), said)
			require.Equal(t, want.fromDatabase, fromDatabase(err.Error()), said)
			for _, kind := range []error{ErrUnauthorized, ErrForbidden, ErrNoDatabase} {
				require.Equal(t, errors.Is(want.kind, kind), errors.Is(err, kind), "%s: %v", said, kind)
			}
		}
	}
	require.NoError(t, explain(nil, statement))
	require.NoError(t, sorted(nil))
	require.False(t, sinkers.IsPermanent(sorted(context.Canceled)))
}

// TestStatementIsNoAnswer: a word of the statement, which the library repeats, says nothing about the error.
func TestStatementIsNoAnswer(t *testing.T) {
	err := explain(fmt.Errorf("unable to execute %s: SQLite error: database is locked", statement), statement)
	require.EqualError(t, err, "SQLite error: database is locked")
	require.False(t, sinkers.IsPermanent(sorted(err)))
}
