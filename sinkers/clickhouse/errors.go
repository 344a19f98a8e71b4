package clickhouse

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/backend"
)

// Errors of a Sink, found with errors.Is.
var (
	// ErrReadOnly is the error of writing to a read-only Sink.
	ErrReadOnly = errors.New("opened for reading only")
	// ErrClosed is the error of every method after Close.
	ErrClosed = errors.New("closed")
)

// kind is what an error says about the next try.
type kind uint8

const (
	unknown kind = iota // whether the rows or the server are at fault: the worker finds out
	outage              // the server or the table is: the same rows may be stored later, and no others now
	data                // the rows are: another try is of no use
)

const (
	codeTooManyParts = 252
	codeConstraint   = 469
)

// kinds of ClickHouse's error codes; all others are unknown.
var kinds = map[int32]kind{
	6:              data, // CANNOT_PARSE_TEXT
	26:             data, // CANNOT_PARSE_QUOTED_STRING
	27:             data, // CANNOT_PARSE_INPUT_ASSERTION_FAILED
	38:             data, // CANNOT_PARSE_DATE
	41:             data, // CANNOT_PARSE_DATETIME
	53:             data, // TYPE_MISMATCH
	69:             data, // ARGUMENT_OUT_OF_BOUND
	70:             data, // CANNOT_CONVERT_TYPE
	72:             data, // CANNOT_PARSE_NUMBER
	117:            data, // INCORRECT_DATA
	128:            data, // TOO_LARGE_ARRAY_SIZE
	131:            data, // TOO_LARGE_STRING_SIZE
	321:            data, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
	349:            data, // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
	407:            data, // DECIMAL_OVERFLOW
	codeConstraint: data, // VIOLATED_CONSTRAINT
	691:            data, // UNKNOWN_ELEMENT_OF_ENUM

	16:               outage, // NO_SUCH_COLUMN_IN_TABLE
	20:               outage, // NUMBER_OF_COLUMNS_DOESNT_MATCH
	24:               outage, // CANNOT_WRITE_TO_OSTREAM
	60:               outage, // UNKNOWN_TABLE
	75:               outage, // CANNOT_WRITE_TO_FILE_DESCRIPTOR
	76:               outage, // CANNOT_OPEN_FILE
	77:               outage, // CANNOT_CLOSE_FILE
	81:               outage, // UNKNOWN_DATABASE
	88:               outage, // CANNOT_TRUNCATE_FILE
	164:              outage, // READONLY
	192:              outage, // UNKNOWN_USER
	193:              outage, // WRONG_PASSWORD
	194:              outage, // REQUIRED_PASSWORD
	195:              outage, // IP_ADDRESS_NOT_ALLOWED
	201:              outage, // QUOTA_EXCEEDED
	202:              outage, // TOO_MANY_SIMULTANEOUS_QUERIES
	218:              outage, // TABLE_IS_DROPPED
	225:              outage, // NO_ZOOKEEPER
	236:              outage, // ABORTED
	242:              outage, // TABLE_IS_READ_ONLY
	243:              outage, // NOT_ENOUGH_SPACE
	244:              outage, // UNEXPECTED_ZOOKEEPER_ERROR
	codeTooManyParts: outage, // TOO_MANY_PARTS
	279:              outage, // ALL_CONNECTION_TRIES_FAILED
	285:              outage, // TOO_FEW_LIVE_REPLICAS
	286:              outage, // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
	319:              outage, // UNKNOWN_STATUS_OF_INSERT
	394:              outage, // QUERY_WAS_CANCELLED
	439:              outage, // CANNOT_SCHEDULE_TASK
	473:              outage, // DEADLOCK_AVOIDED
	497:              outage, // ACCESS_DENIED
	499:              outage, // S3_ERROR
	516:              outage, // AUTHENTICATION_FAILED
	586:              outage, // CANNOT_CREATE_FILE
	745:              outage, // SERVER_OVERLOADED
	774:              outage, // TABLE_IS_PERMANENTLY_READ_ONLY
	999:              outage, // KEEPER_EXCEPTION
}

// passing are the codes that a server answers with while it starts, or has no room for more.
var passing = map[int32]bool{
	75:  true, // CANNOT_WRITE_TO_FILE_DESCRIPTOR
	159: true, // TIMEOUT_EXCEEDED
	202: true, // TOO_MANY_SIMULTANEOUS_QUERIES
	209: true, // SOCKET_TIMEOUT
	210: true, // NETWORK_ERROR
	225: true, // NO_ZOOKEEPER
	236: true, // ABORTED
	241: true, // MEMORY_LIMIT_EXCEEDED
	242: true, // TABLE_IS_READ_ONLY
	243: true, // NOT_ENOUGH_SPACE
	244: true, // UNEXPECTED_ZOOKEEPER_ERROR
	279: true, // ALL_CONNECTION_TRIES_FAILED
	285: true, // TOO_FEW_LIVE_REPLICAS
	394: true, // QUERY_WAS_CANCELLED
	439: true, // CANNOT_SCHEDULE_TASK
	473: true, // DEADLOCK_AVOIDED
	586: true, // CANNOT_CREATE_FILE
	745: true, // SERVER_OVERLOADED
	999: true, // KEEPER_EXCEPTION
}

// isAway says whether opening the database may succeed later, with the same settings.
func isAway(err error) bool {
	if e := new(clickhouse.Exception); errors.As(err, &e) {
		return passing[e.Code]
	}
	if e := new(clickhouse.HTTPError); errors.As(err, &e) { // of a proxy, whose server is away
		return e.StatusCode >= 500
	}
	return errors.Is(err, clickhouse.ErrAcquireConnTimeout) || backend.Unreachable(err)
}

// kindOf sorts what ClickHouse says. Whatever isn't its word, such as a lost connection, is unknown.
func kindOf(err error) kind {
	var e *clickhouse.Exception
	if !errors.As(err, &e) {
		return unknown
	}
	// The code has two meanings. The limit on months is one that we lift; where a profile forbids that, smaller
	// batches pass.
	if e.Code == codeTooManyParts && strings.Contains(e.Message, "partitions for single INSERT") {
		return data
	}
	return kinds[e.Code]
}

// violated is how the server says which row of an insert breaks a constraint of ours. The constraint's name is whoever made
// it's, and what comes after the expression is the row's own text, so all of it up to there is held to the form.
var violated = regexp.MustCompile("^Constraint +`(?:[^`\\\\]|\\\\.)*` for table (?:[^`\\s]+|`(?:[^`\\\\]|\\\\.)*`)\\.audit_events " +
	`(?:\([0-9a-f-]+\) )?is violated at row ([0-9]{1,9})\. Expression: `)

// violatedRow returns which row of an insert the server refuses it for, from 0: of all rows sent, in whatever blocks. No other
// code comes with a row; nor does a constraint that is NULL, or can't be computed.
func violatedRow(err error) (row int, ok bool) {
	var e *clickhouse.Exception
	if !errors.As(err, &e) || e.Code != codeConstraint {
		return 0, false
	}
	m := violated.FindStringSubmatch(e.Message)
	if m == nil {
		return 0, false
	}
	n, _ := strconv.Atoi(m[1]) // nine digits at the most
	return n - 1, n > 0
}

// suspect marks the error of an insert of the chosen rows with the row of the batch that the server refuses it for. It counts
// the rows that it was sent: those that were there already, or not to be stored, are none of them.
func (s *Sink) suspect(err error) error {
	if row, ok := violatedRow(err); ok && row < len(s.chosen) {
		return sinkers.Suspect(s.chosen[row], err)
	}
	return err
}

// sorted marks err as permanent where ClickHouse says that what it was given is at fault.
func sorted(err error) error {
	if kindOf(err) == data {
		return sinkers.Permanent(err)
	}
	return err
}
