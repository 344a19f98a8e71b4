package kafkaclient

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// TenantTopicPrefix is the usual prefix of topics that belong to one tenant each; see [TenantTopic].
const TenantTopicPrefix = "audit.t."

// maxTopic is the longest name of a topic that Kafka allows, in bytes.
const maxTopic = 249

// hashedMark begins what stands in a topic's name for a tenant whose name is too long. No escape begins so.
const hashedMark = "_h"

// TenantTopic is the name of a tenant's own topic: the prefix and the tenant, in which
//
//   - ASCII letters, digits and '-' stand for themselves,
//   - every other byte is '_' and two lowercase hexadecimal digits: a/b is a_2fb, a.b is a_2eb,
//   - the default tenant, whose name is empty, is a single '_'.
//
// Where that ends in [LettersSuffix], the last byte of the tenant is escaped too (audit.t.dl_71 for dlq): patterns
// pass over topics of letters. Where it is longer than the 249 bytes that Kafka allows, it is instead the prefix, "_h"
// and the SHA-256 of the tenant's bytes in lowercase hexadecimal.
//
// No two tenants have the same topic under one prefix, nor two that Kafka holds to be the same for its metrics, which
// are those that differ in '.' and '_' alone. The prefix must be one that [CheckTopicPrefix] finds nothing wrong with.
func TenantTopic(prefix, tenant string) string {
	b := make([]byte, 0, len(prefix)+len(tenant)+8)
	b = append(b, prefix...)
	for i := range len(tenant) {
		if c := tenant[i]; isPlain(c) {
			b = append(b, c)
		} else {
			b = appendEscaped(b, c)
		}
	}
	if tenant == "" {
		b = append(b, '_')
	} else if last := len(b) - 1; strings.HasSuffix(string(b), LettersSuffix) {
		b = appendEscaped(b[:last], b[last])
	}
	if len(b) > maxTopic {
		sum := sha256.Sum256([]byte(tenant))
		b = hex.AppendEncode(append(b[:len(prefix)], hashedMark...), sum[:])
	}
	return string(b)
}

func isPlain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-'
}

func appendEscaped(b []byte, c byte) []byte { return hex.AppendEncode(append(b, '_'), []byte{c}) }

// maxTopicPrefix leaves room for the longest that can follow.
const maxTopicPrefix = maxTopic - len(hashedMark) - 2*sha256.Size

// CheckTopicPrefix returns what is wrong with a prefix for [TenantTopic]; nil if nothing is.
func CheckTopicPrefix(prefix string) error {
	switch {
	case prefix == "":
		return errors.New("is empty")
	case len(prefix) > maxTopicPrefix:
		return fmt.Errorf("is longer than the %d bytes that leave room for a tenant", maxTopicPrefix)
	case strings.HasPrefix(prefix, "_"):
		return errors.New("begins with '_', as Kafka's own topics do")
	case strings.HasSuffix(prefix, LettersSuffix):
		return fmt.Errorf("ends in %s, as topics of letters do", LettersSuffix)
	case IsPattern(prefix):
		return errors.New("is a pattern; leave the '*' out")
	}
	return CheckTopic(prefix + "_")
}
