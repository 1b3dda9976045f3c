package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	const (
		config   = `{"config":{"go_version":"go1.26.10"}}`
		about    = `{"osv":{"id":"GO-1","summary":"a crash"}}`
		required = `{"finding":{"osv":"GO-1","trace":[{"module":"m"}]}}`
		called   = `{"finding":{"osv":"GO-1","fixed_version":"v2","trace":[{"module":"m","function":"F"}]}}`
	)
	for name, tc := range map[string]struct {
		in       string
		accepted map[string]string
		wrong    string
		said     string
	}{
		"nothing":                {config, nil, "", "go1.26.10"},
		"required, not called":   {config + about + required, nil, "", ""},
		"called":                 {config + about + required + called, nil, "1 to see to", "FOUND     GO-1  a crash (m, fixed in v2)"},
		"accepted":               {config + about + called, map[string]string{"GO-1": "not ours"}, "", "accepted  GO-1  a crash: not ours"},
		"accepted for no reason": {config + about, map[string]string{"GO-1": "not ours"}, "1 to see to", "STALE     GO-1"},
		"no scan":                {"", nil, "said nothing", ""},
		"garbage":                {"oops", nil, "read findings", ""},
	} {
		var out bytes.Buffer
		err := judge(strings.NewReader(tc.in), &out, tc.accepted)
		if (err == nil) != (tc.wrong == "") || err != nil && !strings.Contains(err.Error(), tc.wrong) || !strings.Contains(out.String(), tc.said) {
			t.Errorf("%s: got %v, %q", name, err, out.String())
		}
	}
}
