package main

import (
	"errors"
	"strings"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/consumer"
	"github.com/firetrail/firetrail/kafkaclient"
)

// config returns the client's configuration and notes what is wrong with it.
func (s *kafkaSettings) config(p *program) kafkaclient.Config {
	password, _ := p.env.Lookup(cli.EnvName("sasl-password"))
	c := kafkaclient.Config{
		Brokers:  s.Brokers,
		ClientID: s.ClientID,
		TLS: kafkaclient.TLS{
			Enabled: s.TLSEnabled.On, CAFile: s.TLSCAFile,
			CertFile: s.TLSCertFile, KeyFile: s.TLSKeyFile, ServerName: s.TLSServerName,
		},
		SASL: kafkaclient.SASL{
			Mechanism: s.SASLMechanism, User: s.SASLUser, PasswordFile: s.SASLPasswordFile, Password: password,
		},
		Logger: p.kafka,
	}
	problems := &p.command.Problems
	quiet := c
	quiet.Logger = nil
	_, err := quiet.Opts() // reads the files too, so that a missing one is found now
	for _, e := range unjoin(err) {
		name, text := settingName(e.Error())
		problems.Add(name, "%s", text)
	}
	return c
}

func unjoin(err error) []error {
	if err == nil {
		return nil
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}

// settingName takes a problem that begins with a field's name apart, and gives every field it mentions
// the name it has as a setting.
func settingName(problem string) (name, text string) {
	text = strings.NewReplacer(
		"brokers: missing; give at least one as host:port", "brokers: missing; say where Kafka is, such as --brokers localhost:9092",
		"give the file, or the password in the environment", "give the file, or the password in "+cli.EnvName("sasl-password"),
		"tls.enabled", "tls-enabled", "tls.ca_file", "tls-ca-file", "tls.cert_file", "tls-cert-file",
		"tls.key_file", "tls-key-file", "tls.server_name", "tls-server-name", "sasl.mechanism", "sasl-mechanism",
		"sasl.user", "sasl-user", "sasl.password_file", "sasl-password-file", "client_id", "client-id",
	).Replace(problem)
	name, text, ok := strings.Cut(text, ": ")
	if !ok {
		return "kafka", name
	}
	return name, text
}

// check notes what is wrong with the topics, and gives the letters' its default.
func (s *topicSettings) check(p *cli.Problems) {
	if len(s.Topics) == 0 {
		p.Add("topics", "missing; name at least one")
		return
	}
	if s.LetterTopic == "" {
		s.LetterTopic = kafkaclient.LettersOf(s.Topics)
	}
	checkTopics(p, s.Topics, s.LetterTopic)
	if err := checkName(s.LetterTopic); err != nil {
		p.Add("letter-topic", "%q %w", s.LetterTopic, err)
	}
}

// checkTopics notes what is wrong with topics, and with their topic of letters: "" where there is none.
func checkTopics(p *cli.Problems, topics []string, letters string) {
	for _, err := range unjoin(kafkaclient.CheckTopics(topics, letters)) {
		p.Add("topics", "%w", err)
	}
}

// checkName holds the name of a topic to Kafka's rules.
func checkName(topic string) error {
	if kafkaclient.IsPattern(topic) {
		return errors.New("is a pattern, and no name of a topic")
	}
	return kafkaclient.CheckTopic(topic)
}

// check notes what is wrong with the worker's own settings.
func (s *workerSettings) check(p *cli.Problems) {
	if s.Group == "" {
		p.Add("group", "missing; name the consumer group")
	}
	positive := func(name string, ok bool) {
		if !ok {
			p.Add(name, "must be more than 0")
		}
	}
	positive("batch-max-size", s.BatchMaxSize.N > 0)
	positive("batch-max-bytes", s.BatchMaxBytes.Bytes > 0)
	positive("flush-interval", s.FlushInterval.Duration > 0)
	if s.MinFlush.Duration > s.FlushInterval.Duration && !p.Has("flush-interval") && !p.Has("min-flush-interval") {
		p.Add("min-flush-interval", "%s is over flush-interval, %s", s.MinFlush, s.FlushInterval)
	}
	positive("min-flush-interval", s.MinFlush.Duration > 0 || p.Has("flush-interval"))
	positive("max-in-flight-bytes", s.MaxInFlight.Bytes > 0)
	if d := s.SessionTimeout.Duration; d < consumer.MinSessionTimeout || d > consumer.MaxSessionTimeout {
		p.Add("session-timeout", "%s is outside %s to %s", d, consumer.MinSessionTimeout, consumer.MaxSessionTimeout)
	}
	positive("shutdown-timeout", s.ShutdownTimeout.Duration > 0)
	if s.DLQDir == "" {
		p.Add("dlq-dir", "missing; name a directory for dead letters")
	}
	if s.MaxInFlight.Bytes < s.BatchMaxBytes.Bytes && !p.Has("max-in-flight-bytes") && !p.Has("batch-max-bytes") {
		p.Add("max-in-flight-bytes", "%s is less than one batch (batch-max-bytes %s)", s.MaxInFlight, s.BatchMaxBytes)
	}
}
