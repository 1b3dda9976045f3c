package ide

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLogLevel(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ source, text, want string }{
		{SourceStdout, `{"time":"x","level":"WARN","msg":"ERROR in the text"}`, LevelWarn},
		{SourceStderr, `{"level":30,"msg":"pino"}`, LevelInfo},
		{SourceStderr, `{"severity": "Debug"}`, LevelDebug},
		{SourceStdout, `time=x level=error msg="no"`, LevelError},
		{SourceStdout, `ts=1 lvl="warn"`, LevelWarn},
		{SourceStderr, `2026-01-02 03:04:05 INFO begins`, LevelInfo},
		{SourceStdout, `[03:04:05] [FATAL] no`, LevelError},
		{SourceStderr, `warning: unused variable`, LevelWarn},
		{SourceStdout, `npm ERR! code`, LevelError},
		{SourceStdout, `[error] no such file`, LevelError},
		{SourceStdout, `information for all`, LevelInfo},
		{SourceStdout, `errors are told elsewhere`, LevelInfo},
		{SourceStderr, `level=loud`, LevelError},
		{SourceStderr, `plain`, LevelError},
		{SourceStdout, `plain`, LevelInfo},
		{SourceStdout, strings.Repeat("x", 300) + " ERROR", LevelInfo},
	} {
		if got := LogLevel(tc.source, tc.text); got != tc.want {
			t.Errorf("%s %q: got %s, want %s", tc.source, tc.text, got, tc.want)
		}
	}
	if !AtLeast(LevelError, LevelWarn) || AtLeast(LevelInfo, LevelWarn) || !AtLeast(LevelDebug, "") {
		t.Error("levels are not in their order")
	}
}

// FuzzCleanLog: whatever a program prints becomes one line of UTF-8 that is
// not too long.
func FuzzCleanLog(f *testing.F) {
	for _, s := range []string{"", "plain\r\n", "a\nb", "\xff\xfe\x00", strings.Repeat("ä", MaxLogLine), strings.Repeat("x", MaxLogLine), strings.Repeat("\xffa", MaxLogLine)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := CleanLog(s)
		if !utf8.ValidString(got) || len(got) > MaxLogLine || strings.ContainsAny(got, "\n\x00") {
			t.Errorf("%q becomes %q", s, got)
		}
		if len(s) > 2*MaxLogLine && !strings.HasSuffix(got, cutMark) && strings.TrimRight(s, "\r\n") == s && utf8.ValidString(s) {
			t.Errorf("a line of %d bytes was cut and does not say so", len(s))
		}
		if CleanLog(got) != got {
			t.Errorf("%q is not clean", got)
		}
	})
}
