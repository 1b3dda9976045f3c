package cli

import "testing"

func TestKeysOfTheBucketAreSentWhenAskedFor(t *testing.T) {
	t.Parallel()
	answers := map[string][]string{"POST /api/containers/check": {`{"fits":true,"nodes":[]}`}}
	for _, tc := range []struct{ flag, want string }{
		{"--aws-keys", `{"s3Bucket":"ws","awsAccessKeyId":"AKIA","awsSecretAccessKey":"hidden"}`},
		{"--aws-keys=false", `{"s3Bucket":"ws"}`},
	} {
		_, _, a, err := berth(t, answers, "check", "ws", tc.flag)
		if got := a.bodies["POST /api/containers/check"]; err != nil || got != tc.want {
			t.Errorf("%s: sent %s, want %s; %v", tc.flag, got, tc.want, err)
		}
	}
}
