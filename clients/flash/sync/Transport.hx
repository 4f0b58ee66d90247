package sync;

import flash.events.Event;
import flash.events.EventDispatcher;
import flash.events.IOErrorEvent;
import flash.events.SecurityErrorEvent;
import flash.errors.Error;

/**
    How messages, objects of JSON-RPC, go to a server and come from it. It lives as long as its
    client; each connection has a socket of its own, and one that was given up is heard no more.
    XmlTransport and AmfTransport know what sockets and bytes there are.
**/
class Transport {
    public var onOpen:Void -> Void;
    /** Gets a message and its size; or null, the size, and what is wrong with it. **/
    public var onMessage:(Dynamic, Int, String) -> Void;
    /** Gets why. It isn't called for connections that were `shut`. **/
    public var onLost:String -> Void;

    /** Of a received message; longer ones are not read. **/
    public var maxReceived:Int;

    var socket:Dynamic; // XMLSocket or Socket, which have these methods and events in common

    /** Returns the message as it is sent. Throws an Error for what can't be written. **/
    public function pack(message:Dynamic):Dynamic return null;

    /** Bytes of what `pack` has returned, as the server counts them. **/
    public function sizeOf(packed:Dynamic):Int return 0;

    /** Sends what `pack` has returned. **/
    public function send(packed:Dynamic) {}

    function makeSocket():EventDispatcher return null;

    /** Connects. Throws a SecurityError where the player allows no such connection at all. **/
    public function open(host:String, port:Int) {
        var made = makeSocket();
        socket = made;
        made.addEventListener(Event.CONNECT, function(_) {
            if (socket == made) onOpen() else close(made);
        });
        made.addEventListener(Event.CLOSE, function(_) lose(made, "closed by the server"));
        made.addEventListener(IOErrorEvent.IO_ERROR, function(e:IOErrorEvent) lose(made, e.text));
        made.addEventListener(SecurityErrorEvent.SECURITY_ERROR,
            function(e:SecurityErrorEvent) lose(made, e.text));
        socket.connect(host, port);
    }

    function lose(from:EventDispatcher, reason:String) {
        if (socket != from) return;
        shut();
        onLost(reason);
    }

    /** Closes the connection, also one that is being opened. **/
    public function shut() {
        var old = socket;
        socket = null;
        if (old != null) close(old);
    }

    function close(old:Dynamic) {
        try old.close() catch (e:Error) {} // it was closed before
    }
}
