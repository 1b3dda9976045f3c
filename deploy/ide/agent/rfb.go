package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	rfbVersion = "RFB 003.008\n"
	rfbVncAuth = 2 // security type
)

var (
	errProtocol = errors.New("not the RFB that was expected")
	errRefused  = errors.New("too many wrong passwords")
)

// authenticate carries RFB's handshake between a person and Xvnc up to the
// verdict on the password, so that guesses can be counted by who makes them.
// try counts one, and says how long to wait if it is one too many: such a
// client is told so in RFB, and Xvnc never hears of it.
func authenticate(person, server net.Conn, try func() time.Duration) (right bool, err error) {
	end := time.Now().Add(10 * time.Minute) // a person has to type the password
	person.SetDeadline(end)
	server.SetDeadline(end)
	defer func() {
		person.SetDeadline(time.Time{})
		server.SetDeadline(time.Time{})
	}()
	b := make([]byte, 256)
	pass := func(from, to net.Conn, n int) ([]byte, error) {
		if _, err := io.ReadFull(from, b[:n]); err != nil {
			return nil, fmt.Errorf("read handshake: %w", err)
		}
		if _, err := to.Write(b[:n]); err != nil {
			return nil, fmt.Errorf("write handshake: %w", err)
		}
		return b[:n], nil
	}
	if _, err := pass(server, person, len(rfbVersion)); err != nil {
		return false, err
	}
	if v, err := pass(person, server, len(rfbVersion)); err != nil {
		return false, err
	} else if string(v) != rfbVersion { // earlier ones say things in another order
		return false, errProtocol
	}
	n, err := pass(server, person, 1)
	if err != nil {
		return false, err
	}
	if n[0] == 0 { // Xvnc refuses, and its reason follows
		return false, nil
	}
	if _, err := pass(server, person, int(n[0])); err != nil {
		return false, err
	}
	if kind, err := pass(person, server, 1); err != nil {
		return false, err
	} else if kind[0] != rfbVncAuth {
		return false, errProtocol
	}
	if _, err := pass(server, person, 16); err != nil { // the challenge
		return false, err
	}
	response := make([]byte, 16)
	if _, err := io.ReadFull(person, response); err != nil {
		return false, fmt.Errorf("read handshake: %w", err)
	}
	if wait := try(); wait > 0 {
		why := tooMany(wait)
		no := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 1}, uint32(len(why)))
		person.Write(append(no, why...))
		return false, errRefused
	}
	if _, err := server.Write(response); err != nil {
		return false, fmt.Errorf("write handshake: %w", err)
	}
	verdict, err := pass(server, person, 4)
	if err != nil {
		return false, err
	}
	return binary.BigEndian.Uint32(verdict) == 0, nil
}

// pipe copies both ways until one side ends.
func pipe(x, y net.Conn) {
	done := make(chan struct{}, 2)
	for _, c := range [][2]net.Conn{{x, y}, {y, x}} {
		go func() {
			io.Copy(c[0], c[1])
			done <- struct{}{}
		}()
	}
	<-done
	x.Close()
	y.Close()
	<-done
}
