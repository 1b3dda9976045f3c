package leaktest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"testing"
)

func TestLeaksAreFound(t *testing.T) {
	t.Parallel()
	const secret = `p"w/ü&+<`
	quoted, err := json.Marshal(map[string]string{"k": `{"vnc":` + fmt.Sprintf("%q", secret) + `}`})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"raw": "x" + secret + "y", "JSON in JSON": string(quoted), "query": url.Values{"k": {secret}}.Encode(),
		"base64": base64.StdEncoding.EncodeToString([]byte(`{"vnc":"` + secret + `","n":1}`)),
		"offset": base64.RawURLEncoding.EncodeToString([]byte(`..` + secret)), "hex": hex.EncodeToString([]byte("--" + secret + "--")),
	} {
		if Find(text, secret) == "" {
			t.Errorf("%s: not found in %q", name, text)
		}
	}
	if form := Find(`nothing "of" the/kind <here>`, secret); form != "" {
		t.Errorf("found as %s where it is not", form)
	}
}
