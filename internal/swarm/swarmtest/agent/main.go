// Command agent is what the tests run as a container: a stand-in for the IDE
// image's agent that answers on the agent's port, and dials where it is told.
//
//	agent               serve until SIGTERM; say when it begins and ends
//	agent exit CODE     end at once
//	agent eat           take memory until the kernel says no
//	agent health        exit 0
//	agent dial ADDR     exit 0 if a TCP connection to ADDR opens within 2 s
//	agent flood ADDR    the same, with some 2,000 attempts a second for 3 s
package main

import (
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

func main() {
	args := append(os.Args[1:], "", "")
	switch args[0] {
	case "exit":
		code, _ := strconv.Atoi(args[1])
		println("begins")
		println("ends with code", code)
		os.Exit(code)
	case "eat":
		for held := [][]byte{}; ; {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			held = append(held, b)
		}
	case "health":
	case "dial":
		c, err := net.DialTimeout("tcp", args[1], 2*time.Second)
		if err != nil {
			println(err.Error())
			os.Exit(1)
		}
		c.Close()
	case "flood":
		flood(args[1])
	default:
		serve()
	}
}

func flood(addr string) {
	end := time.Now().Add(3 * time.Second)
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			for time.Now().Before(end) {
				if c, err := net.DialTimeout("tcp", addr, 20*time.Millisecond); err == nil {
					c.Close()
					os.Exit(0)
				}
			}
		})
	}
	wg.Wait()
	os.Exit(1)
}

func serve() {
	println("begins")
	go func() {
		if err := http.ListenAndServe(":9000", http.NotFoundHandler()); err != nil {
			println(err.Error())
			os.Exit(1)
		}
	}()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	println("ends with code 0")
}
