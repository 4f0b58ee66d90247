package sync;

import flash.errors.Error;
import flash.utils.ByteArray;
import sync.Types.Bytes;

/** The begin of a patch. **/
class Head {
    public var isSnapshot:Bool;
    public var room:Float;
    public var epoch:Float;
    public var tick:Float;
    public var input:Float;
    public var bytes:Bytes;    // the rest; or
    public var object:Dynamic; // the whole of it

    /** Of a ByteArray or an object. Throws an Error for what is no patch. **/
    public function new(data:Dynamic) {
        if (untyped __is__(data, ByteArray)) read(new Bytes(data)) else take(data);
    }

    function read(bytes:Bytes) {
        if (bytes.data.readUnsignedByte() != 0xC1) throw new Error("it begins with another byte");
        var flags = bytes.data.readUnsignedByte();
        if (flags > 1) throw new Error("there is an unknown flag");
        isSnapshot = flags == 1;
        room = bytes.varint();
        epoch = bytes.varint();
        tick = bytes.varint();
        input = bytes.varint();
        this.bytes = bytes;
    }

    function take(object:Dynamic) {
        if (object == null) throw new Error("it is no object");
        isSnapshot = object.snapshot == true;
        room = natural(object.room);
        epoch = natural(object.epoch);
        tick = natural(object.tick);
        input = natural(object.input);
        this.object = object;
    }

    function natural(value:Dynamic):Float {
        if (!(untyped __is__(value, Float) && value >= 0 && value % 1 == 0)) {
            throw new Error("a number of its head is none");
        }
        return value;
    }
}
