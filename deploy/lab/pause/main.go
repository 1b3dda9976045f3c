// Command pause waits for SIGTERM and does nothing else. It is the whole image of the lab's edge service: a task of it
// holds a network namespace on the overlay open, and the lab runs host processes inside that namespace.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
}
