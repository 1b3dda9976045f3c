package cli

import (
	"fmt"
	"strconv"
	"time"
)

// Span is a duration of a flag: 90s, 30m, 2h30m, or a number of seconds. It is
// never negative.
type Span time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if n, nerr := strconv.ParseUint(string(text), 10, 31); nerr == nil {
		d, err = time.Duration(n)*time.Second, nil
	}
	switch {
	case err != nil:
		return fmt.Errorf("%q must be a duration as 90s, 30m or 2h30m, or a number of seconds", text)
	case d < 0:
		return fmt.Errorf("%q must not be negative", text)
	}
	*s = Span(d)
	return nil
}
