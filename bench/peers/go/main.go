// The echo and the broadcast server on Go's net: a goroutine for each connection.
//
//	go build -o go-peer main.go && ./go-peer echo|broadcast PORT
//
// Go sets TCP_NODELAY itself.
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"sync"
)

// messages calls handle with each message and its NUL; more says that another one is
// already here. The bytes are good until handle returns.
func messages(conn net.Conn, handle func(frame []byte, more bool) error) {
	reader := bufio.NewReader(conn)
	for {
		frame, err := reader.ReadSlice(0)
		if err == bufio.ErrBufferFull { // longer than the buffer
			var rest []byte
			frame = append([]byte(nil), frame...)
			rest, err = reader.ReadBytes(0)
			frame = append(frame, rest...)
		}
		if err != nil || handle(frame, reader.Buffered() > 0) != nil {
			return
		}
	}
}

func echo(conn net.Conn) {
	defer conn.Close()
	writer := bufio.NewWriter(conn)
	messages(conn, func(frame []byte, more bool) error {
		if _, err := writer.Write(frame); err != nil || more {
			return err
		}
		return writer.Flush()
	})
}

// A client of the broadcast has a goroutine that writes, so that a slow one does not hold
// up the others until its queue is full.
type client chan []byte

var (
	mutex   sync.RWMutex
	clients = map[client]bool{}
)

func (queue client) write(conn net.Conn) {
	writer := bufio.NewWriter(conn)
	failed := false
	for frame := range queue {
		if failed {
			continue
		}
		_, err := writer.Write(frame)
		if err == nil && len(queue) == 0 {
			err = writer.Flush()
		}
		failed = err != nil
	}
}

func broadcast(conn net.Conn) {
	defer conn.Close()
	queue := make(client, 256)
	go queue.write(conn)
	mutex.Lock()
	clients[queue] = true
	mutex.Unlock()
	messages(conn, func(frame []byte, _ bool) error {
		shared := append([]byte(nil), frame...)
		mutex.RLock()
		for other := range clients {
			other <- shared
		}
		mutex.RUnlock()
		return nil
	})
	mutex.Lock()
	delete(clients, queue)
	mutex.Unlock()
	close(queue)
}

func main() {
	modes := map[string]func(net.Conn){"echo": echo, "broadcast": broadcast}
	if len(os.Args) != 3 || modes[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: go-peer echo|broadcast PORT")
		os.Exit(2)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ready", os.Args[2])
	for {
		conn, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		go modes[os.Args[1]](conn)
	}
}
