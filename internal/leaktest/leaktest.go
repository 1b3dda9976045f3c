// Package leaktest finds secrets where they should not be, for tests.
package leaktest

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"
)

// forms returns how a secret shows in texts: as it is, in base64 at each of
// the three offsets, hexadecimal, escaped for URLs and JSON.
func forms(secret string) map[string]string {
	all := map[string]string{
		"raw": secret, "hex": hex.EncodeToString([]byte(secret)), "query": url.QueryEscape(secret), "path": url.PathEscape(secret),
	}
	for level, text := 1, []string{secret}; level <= 2; level++ {
		var quoted []string
		for _, s := range text {
			quoted = append(quoted, quote(s, false), quote(s, true))
		}
		for i, s := range quoted {
			all[fmt.Sprintf("JSON of level %d (%d)", level, i)] = s
		}
		text = quoted
	}
	for offset := range 3 {
		// the characters at the ends also depend on what stands beside it
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", offset) + secret))
		text = text[(offset*8+5)/6 : (offset+len(secret))*8/6]
		all[fmt.Sprintf("base64 at %d", offset)] = text
		all[fmt.Sprintf("URL base64 at %d", offset)] = strings.NewReplacer("+", "-", "/", "_").Replace(text)
	}
	return all
}

// quote escapes a text as JSON has it between its quotes.
func quote(s string, html bool) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(html)
	_ = enc.Encode(s) // a string
	return strings.Trim(strings.TrimSpace(b.String()), `"`)
}

// Find names the form in which a secret stands in a text, or is empty.
func Find(text, secret string) string {
	for name, form := range forms(secret) {
		if strings.Contains(text, form) {
			return name
		}
	}
	return ""
}

// Redis returns all that a Redis holds, keys and values.
func Redis(ctx context.Context, rdb redis.UniversalClient) (map[string]string, error) {
	keys, err := rdb.Keys(ctx, "*").Result()
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, k := range keys {
		var cmd redis.Cmder
		switch kind := rdb.Type(ctx, k).Val(); kind {
		case "none": // it has gone since
			continue
		case "string":
			cmd = rdb.Get(ctx, k)
		case "list":
			cmd = rdb.LRange(ctx, k, 0, -1)
		case "set":
			cmd = rdb.SMembers(ctx, k)
		case "hash":
			cmd = rdb.HGetAll(ctx, k)
		case "zset":
			cmd = rdb.ZRangeWithScores(ctx, k, 0, -1)
		case "stream":
			cmd = rdb.XRange(ctx, k, "-", "+")
		default:
			return nil, fmt.Errorf("%s is a %s", k, kind)
		}
		if err := cmd.Err(); err != nil && err != redis.Nil {
			return nil, fmt.Errorf("read %s: %w", k, err)
		}
		all["redis "+k] = k + " " + cmd.String()
	}
	return all, nil
}
