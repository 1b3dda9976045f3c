package ide

import (
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Sources of log lines: the two streams of a container's program, and the
// parts of the control plane.
const (
	SourceStdout  = "stdout"
	SourceStderr  = "stderr"
	SourceAPI     = "api"
	SourceGateway = "gateway"
	SourceWorker  = "worker"
)

// Levels of log lines.
const (
	LevelDebug = "debug"
	LevelInfo  = "info"
	LevelWarn  = "warn"
	LevelError = "error"
)

// LogLevels lists the levels, the least first.
func LogLevels() []string { return []string{LevelDebug, LevelInfo, LevelWarn, LevelError} }

// AtLeast says whether a level is another one or above it. Everything is at
// least "".
func AtLeast(level, least string) bool {
	return slices.Index(LogLevels(), level) >= slices.Index(LogLevels(), least)
}

// LogLine is a line that a container's program or a part of the control plane
// has written.
type LogLine struct {
	ID        string    `json:"id" doc:"Place in the stream of lines"`
	At        time.Time `json:"at" doc:"When it was written, by the clock of its node"`
	Node      string    `json:"nodeId,omitempty" doc:"Engine ID of its node, or its host name"`
	Container string    `json:"containerId,omitempty" doc:"Whose line it is; none is the control plane's own"`
	Source    string    `json:"source" enum:"stdout,stderr,api,gateway,worker" doc:"Stream of the container's program, or part of the control plane"`
	Level     string    `json:"level" enum:"debug,info,warn,error" doc:"As the line itself says; else error on stderr and info elsewhere"`
	Text      string    `json:"text" doc:"The line, of 8 KiB at most: a longer one is cut, and says so"`
}

// MaxLogLine is the most that is kept of a line, in bytes.
const MaxLogLine = 8 << 10

// cutMark ends a line that was longer.
const cutMark = " [cut]"

// CleanLog makes text one line of valid UTF-8 of at most MaxLogLine bytes.
func CleanLog(text string) string {
	text = strings.ToValidUTF8(strings.TrimRight(text, "\r\n"), "\uFFFD")
	if strings.ContainsAny(text, "\n\x00") {
		text = strings.NewReplacer("\n", " ", "\x00", "\uFFFD").Replace(text)
	}
	if len(text) <= MaxLogLine {
		return text
	}
	n := MaxLogLine - len(cutMark)
	for !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + cutMark
}

// levelLook is how far into a line a level is looked for.
const levelLook = 256

// Forms in which programs say a level: a field of JSON or logfmt, a word in
// capitals, and a word in the beginning with a mark behind it.
var (
	levelField = regexp.MustCompile(`(?i)(?:"(?:level|lvl|severity)"\s*:\s*"?|\b(?:level|lvl|severity)=\s*"?)([a-z]+|[0-9]+)`)
	levelWord  = regexp.MustCompile(`\b(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERR|ERROR|FATAL|PANIC|CRITICAL|EMERG|ALERT)\b`)
	levelBegin = regexp.MustCompile(`(?i)^\W{0,3}(trace|debug|info|notice|warn|warning|err|error|fatal|panic|critical)(?:[\]:>)]|!)`)
)

// LogLevel finds the level that a line says it has. One that says nothing is
// an error on stderr, and information elsewhere.
func LogLevel(source, text string) string {
	if len(text) > levelLook {
		text = text[:levelLook]
	}
	for _, form := range []*regexp.Regexp{levelField, levelWord, levelBegin} {
		if m := form.FindStringSubmatch(text); m != nil {
			if level := levelNamed(strings.ToLower(m[1])); level != "" {
				return level
			}
		}
	}
	if source == SourceStderr {
		return LevelError
	}
	return LevelInfo
}

// levelNamed maps the names that programs have for levels, and the numbers of
// pino and bunyan; "" is none of them.
func levelNamed(name string) string {
	switch name {
	case "trace", "debug", "10", "20":
		return LevelDebug
	case "info", "information", "notice", "30":
		return LevelInfo
	case "warn", "warning", "40":
		return LevelWarn
	case "err", "error", "fatal", "panic", "critical", "crit", "emerg", "alert", "dpanic", "50", "60":
		return LevelError
	}
	return ""
}
