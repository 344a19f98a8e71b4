// Package dlq keeps the records that could not go on: dead letters, each with its original bytes, where it
// came from and why it is here. It keeps them in two forms, a directory of files and a Kafka topic, and
// tries those that only wait for an outage to end again until they are where they belong. It knows neither
// databases nor producers: delivering is a function that is given to it.
//
// # The directory
//
// A [Dir] is a directory of small files, written once and never changed:
//
//	acme_1772366340005_9f86d081884c7d65.batch             waits; is tried again every minute
//	acme_1772366340005_9f86d081884c7d65.batch.processing  is being tried; a crash gives it back
//	acme_1772366340006_0a1b2c3d4e5f6071.batch.dead        poison: refused in 10 scans, or put as such
//	acme_1772366340007_feedfacecafebeef.batch.damaged     was found damaged; what was whole in it is used
//	acme_1772366340008_0123456789abcdef.tmp               not finished; a promise to nobody
//
// A name is the tenant (escaped: anything but a-z, 0-9, '-' and '_' as %xx; a long one is cut and hashed),
// the time in milliseconds since 1970, and 16 random digits. Files are 0600, the directory 0700.
//
// A file is NDJSON. Its first line says what it holds, each other line is one letter:
//
//	{"crc":"50e7b867","firetrail":"letters","version":1,"kind":"waiting","tenant":"acme","letters":1,"reasons":[{"reason":"outage","letters":1}],"created":"2026-03-01T12:00:00.2Z"}
//	{"crc":"d933cf43","id":"AQIDAAAAAAAAAAAAAAAAAA:4:7","tenant":"acme","reason":"outage","error":"connection refused","stage":"write","attempts":3,"first_failed":"2026-03-01T12:00:00.1Z","topic":"audit.events","topic_id":"AQIDAAAAAAAAAAAAAAAAAA","partition":4,"offset":7,"time":"2026-03-01T11:59:00.005Z","headers":[{"key":"content-type","value":"application/cloudevents+json"}],"key":"acme","value":"{\"specversion\":\"1.0\",\"id\":\"0192f0c1-7b2e-7abc-8def-0123456789ab\"}"}
//
// Key, value and headers are the original's, exactly: a JSON string where the bytes are UTF-8 text, and
// {"base64":"…"} where they are not; null and "" are kept apart. "scans" counts the scans in which the
// destination refused the letter, and "copied" says what the topic of letters has of it: "whole", or a "stub"
// without its bytes. The crc is CRC-32C over what stands behind it on the line, so that damage
// costs the line it is in and no other; the header's count tells what is missing. So
//
//	jq 'select(.id) | .value as $v | {reason, error, event: (try ($v | fromjson) catch $v)}' *.batch.dead
//
// shows what is in them. What may be done by hand while programs run: copy and read any file; remove a
// .dead or .damaged one; rename .batch.dead to .batch, to have it tried again for another 10 scans. A line
// that was edited fails its crc. Files with other names are left alone.
//
// Several processes may share a directory on a local file system: a process holds the lock (flock) of a
// file it works on, and a .processing file without one is a dead process's. Order is kept per tenant within
// a process.
//
// # The topic
//
// A [Topic] holds the same letters as Kafka records, with the headers of Kafka Connect and our own behind
// the original's; [ParseRecord] has the list, and reads those of Connect, Spring and Kafka Streams.
//
// # Looking, redriving, purging
//
// A [View] shows directory and topic as one. A [Redrive] sends dead letters back to where they came from, and keeps
// in a [Journal] what it has sent. [Dir.Purge] and [PurgeTopic] delete letters for good.
//
// # What is promised
//
// A letter that [Dir.Put] or [Topic.Put] took is there after a crash. It is delivered at least once, and may
// be twice if a process dies at the wrong moment: destinations tell by the event's id. No letter that waits
// is ever discarded, and a dead one only over budget, when the topic has it; each is counted, logged and
// told. A damaged file is never deleted.
package dlq
