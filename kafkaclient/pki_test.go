package kafkaclient

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pki is an authority, a certificate for servers at 127.0.0.1 and kafka.test, and one for a client.
type pki struct {
	ca, cert, key string // files of the authority and of the client
	pool          *x509.CertPool
	serving       tls.Certificate
	servingKey    []byte // PKCS#8
}

func newPKI(t *testing.T) pki {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		return key
	}
	template := func(name string, serial int64) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			DNSNames: []string{"kafka.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
	}
	caKey, serverKey, clientKey := newKey(), newKey(), newKey()
	ca := template("authority", 1)
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	require.NoError(t, err)
	ca, err = x509.ParseCertificate(caDER)
	require.NoError(t, err)
	serverDER, err := x509.CreateCertificate(rand.Reader, template("server", 2), ca, &serverKey.PublicKey, caKey)
	require.NoError(t, err)
	clientDER, err := x509.CreateCertificate(rand.Reader, template("client", 3), ca, &clientKey.PublicKey, caKey)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(clientKey)
	require.NoError(t, err)

	serverKeyDER, err := x509.MarshalPKCS8PrivateKey(serverKey)
	require.NoError(t, err)

	p := pki{
		ca:      write("ca.pem", "CERTIFICATE", caDER),
		cert:    write("client.pem", "CERTIFICATE", clientDER),
		key:     write("client.key", "PRIVATE KEY", keyDER),
		pool:    x509.NewCertPool(),
		serving: tls.Certificate{Certificate: [][]byte{serverDER}, PrivateKey: serverKey},

		servingKey: serverKeyDER,
	}
	p.pool.AddCert(ca)
	return p
}

// server is the broker's side; mutual asks for the client's certificate.
func (p pki) server(mutual bool) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{p.serving}}
	if mutual {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, p.pool
	}
	return c
}
