package openapi

import (
	"strings"

	words "github.com/danielgtaylor/huma/v2/validation"
)

// The sentences with which Huma says what is wrong: a rule is what a value must
// be, with its limit.
func init() {
	for message, text := range map[*string]string{
		&words.MsgUnexpectedProperty:                 "must not be there: no such field is known",
		&words.MsgExpectedRFC3339DateTime:            "must be a time as 2026-01-02T15:04:05Z (RFC 3339)",
		&words.MsgExpectedRFC1123DateTime:            "must be a time as in HTTP headers (RFC 1123)",
		&words.MsgExpectedRFC3339Date:                "must be a date as 2026-01-02 (RFC 3339)",
		&words.MsgExpectedRFC3339Time:                "must be a time of day (RFC 3339)",
		&words.MsgExpectedRFC5322Email:               "must be an e-mail address: %v",
		&words.MsgExpectedRFC5890Hostname:            "must be a host name",
		&words.MsgExpectedRFC2673IPv4:                "must be an IPv4 address",
		&words.MsgExpectedRFC2373IPv6:                "must be an IPv6 address",
		&words.MsgExpectedRFCIPAddr:                  "must be an IP address",
		&words.MsgExpectedRFC3986URI:                 "must be a URI: %v",
		&words.MsgExpectedRFC4122UUID:                "must be a UUID: %v",
		&words.MsgExpectedRFC6570URITemplate:         "must be a URI template",
		&words.MsgExpectedRFC6901JSONPointer:         "must be a JSON pointer",
		&words.MsgExpectedRFC6901RelativeJSONPointer: "must be a relative JSON pointer",
		&words.MsgExpectedRegexp:                     "must be a regular expression: %v",
		&words.MsgExpectedMatchAtLeastOneSchema:      "must be of one of the forms that are allowed",
		&words.MsgExpectedMatchExactlyOneSchema:      "must be of exactly one of the forms that are allowed",
		&words.MsgExpectedNotMatchSchema:             "must not be of this form",
		&words.MsgExpectedPropertyNameInObject:       "must name a field that is there",
		&words.MsgExpectedBoolean:                    "must be true or false",
		&words.MsgExpectedDuration:                   "must be a duration as 10m: %v",
		&words.MsgExpectedNumber:                     "must be a number",
		&words.MsgExpectedInteger:                    "must be a whole number",
		&words.MsgExpectedString:                     "must be a string",
		&words.MsgExpectedBase64String:               "must be base64",
		&words.MsgExpectedArray:                      "must be an array",
		&words.MsgExpectedObject:                     "must be an object",
		&words.MsgExpectedArrayItemsUnique:           "must not name anything twice",
		&words.MsgExpectedOneOf:                      "must be one of \"%s\"",
		&words.MsgExpectedMinimumNumber:              "must be at least %v",
		&words.MsgExpectedExclusiveMinimumNumber:     "must be more than %v",
		&words.MsgExpectedMaximumNumber:              "must be at most %v",
		&words.MsgExpectedExclusiveMaximumNumber:     "must be less than %v",
		&words.MsgExpectedNumberBeMultipleOf:         "must be a multiple of %v",
		&words.MsgExpectedMinLength:                  "must have at least %d characters",
		&words.MsgExpectedMaxLength:                  "must have at most %d characters",
		&words.MsgExpectedBePattern:                  "must be %s",
		&words.MsgExpectedMatchPattern:               "must match the pattern %s",
		&words.MsgExpectedMinItems:                   "must have at least %d entries",
		&words.MsgExpectedMaxItems:                   "must have at most %d entries",
		&words.MsgExpectedMinProperties:              "must have at least %d entries",
		&words.MsgExpectedMaxProperties:              "must have at most %d entries",
		&words.MsgExpectedRequiredProperty:           "must have the field %s",
		&words.MsgExpectedDependentRequiredProperty:  "must have the field %s where %s is there",
	} {
		*message = text
	}
}

// rules are the sentences that cannot be set in Huma.
var rules = map[string]string{
	"invalid integer":         "must be a whole number",
	"invalid float":           "must be a number",
	"invalid floating value":  "must be a number",
	"invalid boolean":         "must be true or false",
	"unknown query parameter": "must not be there: no such parameter is known",
}

// rule is what Huma says of a value, as what it must be.
func rule(message string) string {
	if text, ok := rules[message]; ok {
		return text
	}
	if strings.HasPrefix(message, "invalid date/time") {
		return "must be a time as 2026-01-02T15:04:05Z (RFC 3339)"
	}
	if strings.HasPrefix(message, "required ") && strings.HasSuffix(message, " is missing") {
		return "must be given"
	}
	return message
}
