package kafkaclient

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Topics to read are given by their names, or by patterns: a name with asterisks, of which each stands for any
// characters, none too. No topic can have an asterisk in its name. A pattern speaks of the whole name, and a dot of it
// is a dot. It never matches a topic of letters, whose name ends in [LettersSuffix], nor one of Kafka's own, whose
// name begins with two underscores.

// LettersSuffix ends the name of a topic of letters.
const LettersSuffix = ".dlq"

// patternMaxAge is how long it takes at the most until a topic is seen that a pattern matches.
const patternMaxAge = 15 * time.Second

// What patterns pass over, as regular expressions.
var passedOver = []string{regexp.QuoteMeta(LettersSuffix) + "$", "^__"}

// IsPattern reports whether a topic is given by a pattern.
func IsPattern(topic string) bool { return strings.Contains(topic, "*") }

// HasPattern reports whether any of the topics is given by a pattern.
func HasPattern(topics []string) bool { return slices.ContainsFunc(topics, IsPattern) }

// MatchesTopic reports whether name is the topic, or matches its pattern.
func MatchesTopic(topic, name string) bool {
	if !IsPattern(topic) {
		return topic == name
	}
	return !strings.HasSuffix(name, LettersSuffix) && !strings.HasPrefix(name, "__") && regexp.MustCompile(expression(topic)).MatchString(name)
}

// expression is a topic's name or pattern as a regular expression.
func expression(topic string) string {
	return "^" + strings.ReplaceAll(regexp.QuoteMeta(topic), `\*`, ".*") + "$"
}

// LettersOf is the topic of letters where none is given: that of the first of the topics, with ".dlq". For a pattern it
// is made of what comes before the asterisk: audit.dlq for audit.*, and audit.events.dlq where nothing comes before.
func LettersOf(topics []string) string {
	first := "audit.events"
	if len(topics) > 0 {
		name, _, pattern := strings.Cut(topics[0], "*")
		if pattern {
			name = strings.TrimRight(name, "._-")
		}
		if name != "" {
			first = name
		}
	}
	return first + LettersSuffix
}

// CheckTopic returns what is wrong with a topic that is to be read, by Kafka's rules for names; nil if nothing is.
func CheckTopic(topic string) error {
	bad := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-*", r)
	}
	switch {
	case topic == "", topic == ".", topic == "..":
		return errors.New("is no name of a topic")
	case len(topic) > maxTopic:
		return fmt.Errorf("is longer than the %d characters that Kafka allows", maxTopic)
	case strings.ContainsFunc(topic, bad):
		return errors.New("has a character other than letters, digits, '.', '_' and '-', or '*' in a pattern")
	}
	return nil
}

// CheckTopics returns what is wrong with topics that are read together, and with their topic of letters: "" where there
// is none.
func CheckTopics(topics []string, letters string) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	pattern := HasPattern(topics)
	seen := map[string]bool{}
	for _, t := range topics {
		err := CheckTopic(t)
		switch {
		case err != nil:
			bad("%q %w", t, err)
		case seen[t]:
			bad("%q is there twice", t)
		case t == letters:
			bad("%q is the topic of letters, which would come back for ever; take one of the two out", t)
		case pattern && !IsPattern(t) && (strings.HasSuffix(t, LettersSuffix) || strings.HasPrefix(t, "__")):
			bad("%q is a topic of letters, or one of Kafka's own, by its name; such can't be read beside a pattern", t)
		case IsPattern(t) && MatchesTopic(t, letters):
			bad("%q matches the topic of letters, %q; let its name end in %s, which patterns pass over", t, letters, LettersSuffix)
		}
		seen[t] = true
	}
	return errors.Join(errs...)
}

// ConsumeTopics returns the options with which a client reads topics that are given by name or pattern. A topic that a
// pattern matches is read within seconds of its being made.
func ConsumeTopics(topics []string) []kgo.Opt {
	if !HasPattern(topics) {
		return []kgo.Opt{kgo.ConsumeTopics(topics...)}
	}
	expressions := make([]string, len(topics))
	for i, t := range topics {
		expressions[i] = expression(t)
	}
	return []kgo.Opt{
		kgo.ConsumeRegex(), kgo.ConsumeTopics(expressions...), kgo.ConsumeExcludeTopics(passedOver...),
		kgo.MetadataMaxAge(patternMaxAge),
	}
}

// FindTopics returns the topics' names, each once and in order: those that are given, whether they are there or not, and
// those that are there and match a pattern. Without a pattern no broker is asked.
func FindTopics(ctx context.Context, cl *kgo.Client, topics []string) ([]string, error) {
	if !HasPattern(topics) {
		return slices.Clone(topics), nil
	}
	all, err := kadm.NewClient(cl).ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking for topics: %w", err)
	}
	var found []string
	for _, t := range topics {
		if !IsPattern(t) {
			found = append(found, t)
			continue
		}
		for name := range all {
			if MatchesTopic(t, name) {
				found = append(found, name)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}
