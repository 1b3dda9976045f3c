package functions

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
)

// wishOf is a digest of what a request asks of its target: the fields that the
// caller set in query and body, or what the function says by a method wish. It is
// empty where there is nothing to choose. While a job is open, another request of
// its pair gets that job only if it asks for the same.
func wishOf(a any) (string, error) {
	var what any
	if w, ok := a.(interface{ wish() any }); ok {
		what = w.wish()
	} else {
		what = chosen(reflect.ValueOf(a))
	}
	if what == nil {
		return "", nil
	}
	doc, err := json.Marshal(what) // maps by their keys in order
	if err != nil {
		return "", fmt.Errorf("encode what is asked for: %w", err)
	}
	sum := sha256.Sum256(doc)
	return hex.EncodeToString(sum[:16]), nil
}

// chosen returns the fields of arguments that come from query and body, by name,
// or nil where there are none.
func chosen(v reflect.Value) any {
	v = reflect.Indirect(v)
	fields := map[string]any{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if _, query := f.Tag.Lookup("query"); query || f.Name == "Body" {
			fields[f.Name] = v.Field(i).Interface()
		}
	}
	if len(fields) == 0 {
		return nil
	}
	return fields
}
