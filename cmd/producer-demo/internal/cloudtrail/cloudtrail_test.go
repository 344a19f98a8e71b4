package cloudtrail_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/cmd/producer-demo/internal/cloudtrail"
)

// record returns a CloudTrail record with some fields replaced, or left out where they are "".
func record(fields ...string) []byte {
	m := map[string]json.RawMessage{
		"eventTime": []byte(`"2023-07-10T11:42:18Z"`), "eventSource": []byte(`"iam.amazonaws.com"`), "eventName": []byte(`"CreateUser"`),
		"userIdentity": []byte(`{"type":"IAMUser","principalId":"AID","arn":"arn:aws:iam::1:user/ann","userName":"ann"}`),
		"eventID":      []byte(`"875240ac"`), "awsRegion": []byte(`"us-east-1"`), "requestID": []byte(`"r-1"`),
		"sourceIPAddress": []byte(`"health.amazonaws.com"`), "userAgent": []byte(`"aws-cli"`), "readOnly": []byte("false"),
		"requestParameters": []byte(`{"userName":"eve"}`), "responseElements": []byte("null"),
	}
	for i := 0; i < len(fields); i += 2 {
		m[fields[i]] = []byte(fields[i+1])
		if fields[i+1] == "" {
			delete(m, fields[i])
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

func value(t *testing.T, v firetrail.Value) string {
	t.Helper()
	b, err := v.AppendJSON(nil)
	require.NoError(t, err)
	return string(b)
}

func TestDecode(t *testing.T) {
	e, err := cloudtrail.Decode(record())
	require.NoError(t, err)
	require.NoError(t, e.Validate())
	require.Equal(t, "iam.amazonaws.com", e.Tenant)
	require.Equal(t, "iam.CreateUser", e.Action.String())
	require.Equal(t, firetrail.Actor{Type: "IAMUser", ID: "arn:aws:iam::1:user/ann", Name: "ann"}, e.Actor)
	require.Equal(t, firetrail.Entity{ID: "eve"}, e.Entity)
	require.Equal(t, firetrail.Request{IP: "health.amazonaws.com", UserAgent: "aws-cli", ID: "r-1"}, e.Request)
	require.Equal(t, time.Date(2023, 7, 10, 11, 42, 18, 0, time.UTC), e.Time)
	require.Equal(t, firetrail.Success, e.Outcome)
	require.True(t, e.ID.IsZero())
	require.JSONEq(t, `{"userName":"eve"}`, value(t, e.New))
	require.JSONEq(t, `{"eventID":"875240ac","awsRegion":"us-east-1","readOnly":false}`, value(t, e.Metadata))
}

func TestActor(t *testing.T) {
	for identity, want := range map[string]firetrail.Actor{
		`{"type":"AssumedRole","arn":"a","principalId":"p"}`:     {Type: "AssumedRole", ID: "a"},
		`{"type":"IAMUser","principalId":"p","userName":"root"}`: {Type: "IAMUser", ID: "p", Name: "root"},
		`{"type":"AWSService","invokedBy":"ec2.amazonaws.com"}`:  {Type: "AWSService", ID: "ec2.amazonaws.com"},
		`{"invokedBy":"ec2.amazonaws.com"}`:                      {Type: "AWSService", ID: "ec2.amazonaws.com"},
		`{}`:                                                     {},
		`null`:                                                   {},
	} {
		e, err := cloudtrail.Decode(record("userIdentity", identity))
		require.NoError(t, err)
		require.Equal(t, want, e.Actor, identity)
	}
}

func TestEntity(t *testing.T) {
	for params, want := range map[string]string{
		`null`: "", `{}`: "", `[]`: "", `"x"`: "", `{"maxResults":5,"tier":"x"}`: "",
		`{"bucketName":"b","Host":"b.s3"}`:                         "b",
		`{"policyArn":"arn:p","roleName":"r"}`:                     "arn:p",
		`{"name":"n","keyId":"k"}`:                                 "k",
		`{"instanceId":7,"groupName":"g"}`:                         "g",
		`{"clientRequestToken":"t","roleSessionName":"s"}`:         "",
		`{"dBInstanceIdentifier":"db","engineName":"e","name":""}`: "db",
	} {
		e, err := cloudtrail.Decode(record("requestParameters", params))
		require.NoError(t, err, params)
		require.Equal(t, want, e.Entity.ID, params)
	}
	e, err := cloudtrail.Decode(record("resources", `[{"accountId":"1"},{"ARN":"arn:b","type":"AWS::S3::Bucket"}]`))
	require.NoError(t, err)
	require.Equal(t, firetrail.Entity{Type: "AWS::S3::Bucket", ID: "arn:b"}, e.Entity)
}

func TestOutcome(t *testing.T) {
	for code, want := range map[string]firetrail.Outcome{
		"": firetrail.Success, "AccessDenied": firetrail.Denied, "Client.UnauthorizedOperation": firetrail.Denied,
		"AccessDeniedException": firetrail.Denied, "ThrottlingException": firetrail.Failure, "NoSuchTagSet": firetrail.Failure,
	} {
		e, err := cloudtrail.Decode(record("errorCode", `"`+code+`"`))
		require.NoError(t, err)
		require.Equal(t, want, e.Outcome, code)
		require.Equal(t, code != "", strings.Contains(value(t, e.Metadata), "errorCode"))
	}
}

func TestBadRecords(t *testing.T) {
	for name, c := range map[string]struct {
		line []byte
		want string
	}{
		"no JSON":      {[]byte("nonsense"), "not a CloudTrail record: "},
		"an array":     {[]byte("[]"), "not a CloudTrail record: "},
		"a whole file": {[]byte(`{"Records":[{}]}`), "jq -c '.Records[]'"},
		"no source":    {record("eventSource", ""), "eventSource: missing"},
		"no name":      {record("eventName", ""), "eventName: missing"},
		"no time":      {record("eventTime", ""), "eventTime: missing"},
		"bad time":     {record("eventTime", `"yesterday"`), "not a CloudTrail record: "},
		"bad name":     {record("eventName", `"Create User"`), "eventSource, eventName: action: "},
		"old":          {record("eventTime", `"1066-10-14T00:00:00Z"`), "time: "},
		"long tenant":  {record("eventSource", `"s3.`+strings.Repeat("x", 200)+`"`), "tenant: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := cloudtrail.Decode(c.line)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(record())
	f.Add(record("requestParameters", `{"a":{"b":[]}}`, "resources", "null"))
	f.Add([]byte(`{"Records":[]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if e, err := cloudtrail.Decode(line); err == nil {
			require.NoError(t, e.Validate())
		}
	})
}
