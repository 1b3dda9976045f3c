// Command nxdomain answers every DNS question on a UDP address with "no such name". Each engine of the lab has one as its
// upstream: Engine 20.10 gives no answer at all when its upstream cannot be reached (even when it refuses at once), and
// then a look-up of a name that does not exist, such as that of a removed service, takes 20 s instead of a millisecond.
package main

import (
	"log"
	"net"
	"os"
)

const header = 12

func main() {
	conn, err := net.ListenPacket("udp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	buf := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			log.Fatal(err)
		}
		if reply := noSuchName(buf[:n]); reply != nil {
			_, _ = conn.WriteTo(reply, from)
		}
	}
}

// noSuchName turns a question into its reply: the same ID and question, nothing after it. Anything else gives nil.
func noSuchName(msg []byte) []byte {
	if len(msg) < header || msg[2]&0x80 != 0 || msg[4] != 0 || msg[5] != 1 {
		return nil
	}
	end := header
	for end < len(msg) && msg[end] != 0 {
		end += 1 + int(msg[end])
	}
	end += 5 // the root label, type and class
	if end > len(msg) {
		return nil
	}
	msg[2] |= 0x80       // a response
	msg[3] = 0x80 | 3    // recursion available, NXDOMAIN
	clear(msg[6:header]) // no answer, authority or additional records
	return msg[:end]
}
