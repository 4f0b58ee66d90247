package sync;

import flash.errors.Error;
import flash.events.EventDispatcher;
import flash.events.ProgressEvent;
import flash.net.Socket;
import flash.utils.ByteArray;
import flash.utils.Endian;

/**
    AMF3 through flash.net.Socket, for listeners with framing "length32" and encoding "amf3":
    four bytes of length, the highest first, then one value.
**/
class AmfTransport extends Transport {
    static inline var HEAD = 4;
    static inline var AMF3 = 3;

    var need = 0;      // bytes of the body under way; -1: its length is to come
    var skipping = 0.; // bytes of one too long that are still to come

    public function new() {}

    override public function pack(message:Dynamic):Dynamic {
        var bytes = makeBytes();
        bytes.writeUnsignedInt(0);
        bytes.writeObject(message);
        bytes.position = 0;
        bytes.writeUnsignedInt(bytes.length - HEAD);
        return bytes;
    }

    function makeBytes():ByteArray {
        var bytes = new ByteArray();
        bytes.endian = Endian.BIG_ENDIAN;
        bytes.objectEncoding = AMF3;
        return bytes;
    }

    override public function sizeOf(packed:Dynamic):Int {
        var bytes:ByteArray = packed;
        return bytes.length - HEAD;
    }

    override public function send(packed:Dynamic) {
        socket.writeBytes(packed);
        socket.flush();
    }

    override function makeSocket():EventDispatcher {
        var made = new Socket();
        made.endian = Endian.BIG_ENDIAN;
        need = -1;
        skipping = 0;
        made.addEventListener(ProgressEvent.SOCKET_DATA, function(_) receive(made));
        return made;
    }

    // Whoever gets a message may shut the socket.
    function receive(from:Socket) {
        while (socket == from && takeOne(from)) {}
    }

    // Returns whether there may be more.
    function takeOne(from:Socket):Bool {
        if (skipping > 0) return skip(from);
        if (need < 0) {
            if (from.bytesAvailable < HEAD) return false;
            var length:Float = from.readUnsignedInt();
            if (length > maxReceived) {
                skipping = length;
                onMessage(null, 0, 'a message of $length bytes, longer than maxReceived');
                return true;
            }
            need = Std.int(length);
        }
        var available:Float = from.bytesAvailable;
        if (available < need) return false;
        var bytes = makeBytes();
        if (need > 0) from.readBytes(bytes, 0, need); // a length of 0 means all there is
        need = -1;
        read(bytes);
        return true;
    }

    function skip(from:Socket):Bool {
        var length:Float = from.bytesAvailable;
        if (length == 0) return false;
        if (length > skipping) length = skipping;
        from.readBytes(new ByteArray(), 0, Std.int(length));
        skipping -= length;
        return true;
    }

    function read(bytes:ByteArray) {
        var message:Dynamic = null;
        var problem = null;
        try {
            if (bytes.length > 0) message = bytes.readObject(); else problem = "an empty message";
            if (bytes.bytesAvailable > 0) problem = "more than one AMF3 value";
        } catch (e:Error) {
            problem = "what is not AMF3: " + e.message;
        }
        onMessage(problem == null ? message : null, bytes.length, problem);
    }
}
