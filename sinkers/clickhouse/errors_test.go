package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/sinkers"
)

// codes are ClickHouse's own names, which TestCodes holds to the server's.
var codes = []struct {
	code int32
	name string
	kind kind
}{
	{6, "CANNOT_PARSE_TEXT", data},
	{26, "CANNOT_PARSE_QUOTED_STRING", data},
	{27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED", data},
	{38, "CANNOT_PARSE_DATE", data},
	{41, "CANNOT_PARSE_DATETIME", data},
	{53, "TYPE_MISMATCH", data},
	{69, "ARGUMENT_OUT_OF_BOUND", data},
	{70, "CANNOT_CONVERT_TYPE", data},
	{72, "CANNOT_PARSE_NUMBER", data},
	{117, "INCORRECT_DATA", data},
	{128, "TOO_LARGE_ARRAY_SIZE", data},
	{131, "TOO_LARGE_STRING_SIZE", data},
	{321, "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE", data},
	{349, "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN", data},
	{407, "DECIMAL_OVERFLOW", data},
	{469, "VIOLATED_CONSTRAINT", data},
	{691, "UNKNOWN_ELEMENT_OF_ENUM", data},

	{16, "NO_SUCH_COLUMN_IN_TABLE", outage},
	{20, "NUMBER_OF_COLUMNS_DOESNT_MATCH", outage},
	{24, "CANNOT_WRITE_TO_OSTREAM", outage},
	{60, "UNKNOWN_TABLE", outage},
	{75, "CANNOT_WRITE_TO_FILE_DESCRIPTOR", outage},
	{76, "CANNOT_OPEN_FILE", outage},
	{77, "CANNOT_CLOSE_FILE", outage},
	{81, "UNKNOWN_DATABASE", outage},
	{88, "CANNOT_TRUNCATE_FILE", outage},
	{164, "READONLY", outage},
	{192, "UNKNOWN_USER", outage},
	{193, "WRONG_PASSWORD", outage},
	{194, "REQUIRED_PASSWORD", outage},
	{195, "IP_ADDRESS_NOT_ALLOWED", outage},
	{201, "QUOTA_EXCEEDED", outage},
	{202, "TOO_MANY_SIMULTANEOUS_QUERIES", outage},
	{218, "TABLE_IS_DROPPED", outage},
	{225, "NO_ZOOKEEPER", outage},
	{236, "ABORTED", outage},
	{242, "TABLE_IS_READ_ONLY", outage},
	{243, "NOT_ENOUGH_SPACE", outage},
	{244, "UNEXPECTED_ZOOKEEPER_ERROR", outage},
	{252, "TOO_MANY_PARTS", outage},
	{279, "ALL_CONNECTION_TRIES_FAILED", outage},
	{285, "TOO_FEW_LIVE_REPLICAS", outage},
	{286, "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE", outage},
	{319, "UNKNOWN_STATUS_OF_INSERT", outage},
	{394, "QUERY_WAS_CANCELLED", outage},
	{439, "CANNOT_SCHEDULE_TASK", outage},
	{473, "DEADLOCK_AVOIDED", outage},
	{497, "ACCESS_DENIED", outage},
	{499, "S3_ERROR", outage},
	{516, "AUTHENTICATION_FAILED", outage},
	{586, "CANNOT_CREATE_FILE", outage},
	{745, "SERVER_OVERLOADED", outage},
	{774, "TABLE_IS_PERMANENTLY_READ_ONLY", outage},
	{999, "KEEPER_EXCEPTION", outage},

	{33, "CANNOT_READ_ALL_DATA", unknown},
	{49, "LOGICAL_ERROR", unknown},
	{62, "SYNTAX_ERROR", unknown},
	{159, "TIMEOUT_EXCEEDED", unknown},
	{173, "CANNOT_ALLOCATE_MEMORY", unknown},
	{209, "SOCKET_TIMEOUT", unknown},
	{210, "NETWORK_ERROR", unknown},
	{241, "MEMORY_LIMIT_EXCEEDED", unknown},
	{1002, "UNKNOWN_EXCEPTION", unknown},
}

func TestKindsOfCodes(t *testing.T) {
	listed := map[int32]bool{}
	for _, c := range codes {
		listed[c.code] = true
		for _, err := range []error{
			&clickhouse.Exception{Code: c.code, Message: c.name},
			fmt.Errorf("write: %w", &clickhouse.HTTPError{StatusCode: 500, Err: &clickhouse.Exception{Code: c.code}}),
		} {
			require.Equal(t, c.kind, kindOf(err), c.name)
			require.Equal(t, c.kind == data, sinkers.IsPermanent(sorted(err)), c.name)
			require.ErrorIs(t, sorted(err), err)
		}
	}
	for code := range kinds {
		require.True(t, listed[code], "code %d is not in the table above", code)
	}
	for _, err := range []error{io.EOF, io.ErrUnexpectedEOF, context.Canceled, errors.New("write: broken pipe"), clickhouse.ErrAcquireConnTimeout} {
		require.Equal(t, unknown, kindOf(err))
		require.False(t, sinkers.IsPermanent(sorted(err)))
	}
}

// The one code with two meanings.
func TestTooManyParts(t *testing.T) {
	parts := &clickhouse.Exception{Code: 252, Message: "Too many parts (3004 with average size of 1.00 KiB) in table 'audit_events'"}
	months := &clickhouse.Exception{Code: 252, Message: "Too many partitions for single INSERT block (more than 100)"}
	require.Equal(t, outage, kindOf(parts))
	require.Equal(t, data, kindOf(months))
}

// Which row it was, as the server says it: see TestRefusedRow.
func TestViolatedRow(t *testing.T) {
	const (
		name  = "Constraint `no mallory` for table "
		table = "audit_1.audit_events (e5de875e-f889-45a5-9675-4460c727f966) "
		row   = "is violated at row 4. Expression: (actor_id != 'bad'). Column values: actor_id = 'bad'"
	)
	for _, c := range []struct {
		name, message string
		code          int32
		row           int // -1: none
	}{
		{"native", name + table + row, 469, 3},
		{"HTTP", name + table + row + ". (VIOLATED_CONSTRAINT) (version 26.9.2.1)", 469, 3},
		{"the first", name + table + "is violated at row 1. Expression: (0). Column values: ", 469, 0},
		{"an old server", "Constraint  `c` for table audit.audit_events is violated at row 50000. Expression: (0).", 469, 49_999},
		{"a name like the message", "Constraint `a\\` is violated at row 7. Expression: ` for table " + table + row, 469, 3},
		{"a quoted database", name + "`my audit`.audit_events (e5de875e) " + row, 469, 3},
		{"a value like the message", name + table + "is violated. Expression: (x != ''). Column values: x = '` for table a.audit_events " + row + "'", 469, -1},
		{"NULL", name + table + "is violated. Expression: (x).Constraint expression returns nullable column that contains null value", 469, -1},
		{"another table, behind a view", name + "audit_1.by_actor (e5de875e-f889-45a5-9675-4460c727f966) " + row, 469, -1},
		{"another code", name + table + row, 395, -1},
		{"row 0", name + table + "is violated at row 0. Expression: (0)", 469, -1},
		{"no number", name + table + "is violated at row -4. Expression: (0)", 469, -1},
		{"beyond all", name + table + "is violated at row 12345678901. Expression: (0)", 469, -1},
		{"cut off", name + table + "is violated at row 12", 469, -1},
		{"something before it", "oh: " + name + table + row, 469, -1},
		{"empty", "", 469, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s Sink
			for i := range 4 {
				s.chosen = append(s.chosen, 10*i) // the others of the batch weren't sent
			}
			for _, err := range []error{
				&clickhouse.Exception{Code: c.code, Message: c.message},
				fmt.Errorf("sending: %w", &clickhouse.Exception{Code: c.code, Message: c.message}),
			} {
				row, ok := violatedRow(err)
				require.Equal(t, c.row >= 0, ok)
				if ok {
					require.Equal(t, c.row, row)
				}
				marked := s.suspect(err)
				require.ErrorIs(t, marked, err)
				require.Equal(t, kindOf(err), kindOf(marked))
				i, ok := sinkers.Suspected(marked)
				require.Equal(t, c.row >= 0 && c.row < 4, ok, "it is one of those sent")
				if ok {
					require.Equal(t, 10*c.row, i)
				}
			}
		})
	}
	for _, err := range []error{nil, io.EOF} {
		require.Equal(t, err, new(Sink).suspect(err))
	}
}
