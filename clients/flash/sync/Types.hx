package sync;

import flash.errors.Error;
import flash.utils.ByteArray;

/** How values of a type are made, and read from bytes and from JSON. What is wrong is thrown. **/
typedef Type = {
    /** Makes the default. **/
    first:Void -> Dynamic,
    read:Bytes -> Dynamic,
    from:Dynamic -> Dynamic,
}

typedef Field = {name:String, type:Type}

/** The bytes of a patch, as docs/state.md has them. **/
class Bytes {
    public var data:ByteArray;

    public function new(data:ByteArray) {
        this.data = data;
        data.endian = flash.utils.Endian.LITTLE_ENDIAN;
        data.position = 0;
    }

    public function varint():Float {
        var n = 0.;
        var scale = 1.;
        for (i in 0...8) {
            var byte = data.readUnsignedByte();
            n += (byte & 127) * scale;
            if (byte < 128) {
                if (n > 9007199254740991.) break;
                return n;
            }
            scale *= 128;
        }
        throw new Error("a varint is too long");
    }

    public function zigzag():Float {
        var n = varint();
        return n % 2 == 0 ? n / 2 : -(n + 1) / 2;
    }

    /** How many follow, each of which takes a byte or more. **/
    public function count():Int {
        var count = varint();
        if (count > data.bytesAvailable) throw new Error("it says more than there is");
        return Std.int(count);
    }

    public function text():String {
        return data.readUTFBytes(count());
    }

    /** A whole number of so many bytes. **/
    public function little(width:Int):Float {
        var n = 0.;
        var scale = 1.;
        for (i in 0...width) {
            n += data.readUnsignedByte() * scale;
            scale *= 256;
        }
        return n;
    }
}

/** The types that rooms declare. **/
class Types {
    public function new() {}

    public function fields(declared:Array<Dynamic>):Array<Field> {
        if (declared == null) return [];
        return [for (one in declared) {name: (one[0] : String), type: typeOf(one[1])}];
    }

    public function keys(declared:Dynamic):Type {
        if (declared == "integer") {
            return whole(-9007199254740991., 9007199254740991., function(b) return b.zigzag());
        }
        if (declared == "string") return text();
        throw new Error('the room has keys that this client does not know: $declared');
    }

    function typeOf(declared:Dynamic):Type {
        if (untyped __is__(declared, Array)) return compound(declared);
        return switch ((declared : String)) {
            case "bool": bool();
            case "int8": whole(-128, 127, function(b) return b.data.readByte());
            case "uint8": whole(0, 255, function(b) return b.data.readUnsignedByte());
            case "int16": whole(-32768, 32767, function(b) return b.data.readShort());
            case "uint16": whole(0, 65535, function(b) return b.data.readUnsignedShort());
            case "int32": whole(-2147483648., 2147483647., function(b) return b.zigzag());
            case "uint32": whole(0, 4294967295., function(b) return b.varint());
            case "float32": number(0, function(b) return b.data.readFloat());
            case "float64": number(0, function(b) return b.data.readDouble());
            case "string": text();
            default: unknown(declared);
        }
    }

    function compound(declared:Array<Dynamic>):Type {
        return switch ((declared[0] : String)) {
            case "fixed": fixed(declared[1], declared[2], declared[3]);
            case "list": list(typeOf(declared[1]));
            case "map": map(keys(declared[1]), typeOf(declared[2]));
            case "record": record(fields(declared[1]));
            default: unknown(declared);
        }
    }

    function unknown(declared:Dynamic):Type {
        throw new Error('the room has a type that this client does not know: $declared');
    }

    function demand(holds:Bool, why:String) {
        if (!holds) throw new Error(why);
    }

    function isNumber(value:Dynamic):Bool {
        return untyped __is__(value, Float) && __global__["isFinite"](value);
    }

    function number(first:Float, read:Bytes -> Float):Type {
        var check = function(value:Dynamic):Dynamic {
            demand(isNumber(value), "a number is none");
            return value;
        };
        return {first: function() return first, read: function(b) return check(read(b)),
            from: check};
    }

    function whole(low:Float, high:Float, read:Bytes -> Float):Type {
        var check = function(value:Dynamic):Dynamic {
            demand(isNumber(value) && value >= low && value <= high && value % 1 == 0,
                "a number is beyond its type");
            return value;
        };
        return {first: function() return 0, read: function(b) return check(read(b)), from: check};
    }

    function fixed(min:Float, max:Float, step:Float):Type {
        var most:Float = untyped __global__["Math"].floor((max - min) / step + 0.5);
        var width = most < 256 ? 1 : most < 65536 ? 2 : most < 16777216 ? 3 : 4;
        return number(min, function(b) {
            var n = b.little(width);
            demand(n <= most, "a number is beyond its type");
            return min + n * step;
        });
    }

    function bool():Type {
        return {
            first: function() return false,
            read: function(b) {
                var byte = b.data.readUnsignedByte();
                demand(byte < 2, "a bool is neither 0 nor 1");
                return byte == 1;
            },
            from: function(value:Dynamic):Dynamic {
                demand(value == true || value == false, "a bool is none");
                return value;
            },
        };
    }

    function text():Type {
        return {
            first: function() return "",
            read: function(b) return b.text(),
            from: function(value:Dynamic):Dynamic {
                demand(untyped __is__(value, String), "a text is none");
                return value;
            },
        };
    }

    function items(value:Dynamic):Array<Dynamic> {
        demand(untyped __is__(value, Array), "a list is none");
        return value;
    }

    function list(type:Type):Type {
        return {
            first: function() return [],
            read: function(b) return [for (i in 0...b.count()) type.read(b)],
            from: function(value:Dynamic) return [for (one in items(value)) type.from(one)],
        };
    }

    // An object, by keys as texts.
    function map(keys:Type, type:Type):Type {
        return {
            first: function() return {},
            read: function(b) {
                var values:Dynamic = {};
                for (i in 0...b.count()) {
                    var key = "" + keys.read(b);
                    Reflect.setField(values, key, type.read(b));
                }
                return values;
            },
            from: function(value:Dynamic) {
                var values:Dynamic = {};
                for (pair in items(value)) {
                    Reflect.setField(values, "" + keys.from(items(pair)[0]), type.from(pair[1]));
                }
                return values;
            },
        };
    }

    function record(fields:Array<Field>):Type {
        var made = function(valueOf:Field -> Dynamic):Dynamic {
            var value:Dynamic = {};
            for (field in fields) Reflect.setField(value, field.name, valueOf(field));
            return value;
        };
        return {
            first: function() return made(function(field) return field.type.first()),
            read: function(b) return made(function(field) return field.type.read(b)),
            from: function(value:Dynamic) {
                demand(value != null && untyped __typeof__(value) == "object", "a record is none");
                return made(function(field) return field.type.from(Reflect.field(value, field.name)));
            },
        };
    }
}
