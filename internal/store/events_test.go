package store

import (
	"strings"
	"testing"
)

// FuzzEventID: a cursor that is taken names a place in the stream; of two of
// them one is later, or they are the same place.
func FuzzEventID(f *testing.F) {
	for _, s := range [][2]string{{"0-0", "0-1"}, {"1700000000000-0", "1700000000000-10"}, {"", "0-0"}, {"-", "+"}, {"$", "0"}, {"00-1", "0-01"},
		{"99999999999999999999-0", "18446744073709551615-18446744073709551615"}, {"1-1\n", "1 -1"}, {"٣-0", "3-0"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if !ValidEventID(a) || !ValidEventID(b) {
			if ValidEventID(a) && strings.Trim(a, "0123456789-") != "" {
				t.Errorf("%q is taken", a)
			}
			return
		}
		if LaterID(a, b) && LaterID(b, a) || LaterID(a, a) {
			t.Errorf("%q and %q are each later than the other", a, b)
		}
		ams, an := splitID(a)
		bms, bn := splitID(b)
		if same := ams == bms && an == bn; same == (LaterID(a, b) || LaterID(b, a)) {
			t.Errorf("%q and %q: the same place is %t", a, b, same)
		}
	})
}
