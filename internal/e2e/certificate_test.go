package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// makeCertificate makes one of an authority that only this test knows. All is
// PEM; spki is the hash of its key, as Chromium wants it.
func makeCertificate(t testing.TB, names []string, addresses ...net.IP) (authority []byte, certificate, key, spki string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Berth test"}, NotBefore: now.Add(-time.Hour),
		NotAfter: now.Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caText, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(err)
	ca, err = x509.ParseCertificate(caText)
	must(err)
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "berth"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		DNSNames: names, IPAddresses: addresses, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	text, err := x509.CreateCertificate(rand.Reader, leaf, ca, own.Public(), caKey)
	must(err)
	leaf, err = x509.ParseCertificate(text)
	must(err)
	secret, err := x509.MarshalPKCS8PrivateKey(own)
	must(err)
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	block := func(kind string, b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}) }
	return block("CERTIFICATE", caText), string(block("CERTIFICATE", text)), string(block("PRIVATE KEY", secret)), base64.StdEncoding.EncodeToString(sum[:])
}

func poolOf(authority []byte) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	return pool
}
