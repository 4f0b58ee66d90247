package sync;

import flash.errors.ArgumentError;
import flash.system.ApplicationDomain;

/**
    JSON by the player's own class, which is there from Flash Player 11 on, or else in code,
    which is slower. Of objects of a class that code writes the dynamic fields only.
**/
class Json {
    static inline var DEPTH = 64; // also of what refers to itself

    var native:Dynamic;
    var isExact = false; // whether it reads numbers as they are; Ruffle's cuts them to 32 bits

    /** `isPlain`: not by the player's own class, though it be there. **/
    public function new(isPlain:Bool = false) {
        var domain = ApplicationDomain.currentDomain;
        if (isPlain || !domain.hasDefinition("JSON")) return;
        native = domain.getDefinition("JSON");
        isExact = native.parse("4294967297") == 4294967297.;
    }

    /** Throws an Error for what is no JSON. **/
    public function read(text:String):Dynamic {
        return isExact ? native.parse(text) : haxe.format.JsonParser.parse(text);
    }

    /** Throws an Error for what refers to itself. What JSON lacks is null. **/
    public function write(value:Dynamic):String {
        if (native != null) return native.stringify(value);
        var parts:Array<String> = [];
        writeTo(parts, value, 0);
        return parts.join("");
    }

    function writeTo(parts:Array<String>, value:Dynamic, depth:Int) {
        if (depth > DEPTH) throw new ArgumentError("this is too deep, or refers to itself");
        if (isOf(value, String)) {
            parts.push(quote(value));
        } else if (isOf(value, Float)) { // an Int, too
            parts.push(untyped __global__["isFinite"](value) ? "" + value : "null");
        } else if (isOf(value, Bool)) {
            parts.push(value ? "true" : "false");
        } else if (isOf(value, Array)) {
            writeArray(parts, value, depth);
        } else if (value == null || Reflect.isFunction(value)) {
            parts.push("null");
        } else if (isOf(value, Date)) {
            parts.push(quote("" + value));
        } else {
            writeObject(parts, value, depth);
        }
    }

    function writeArray(parts:Array<String>, items:Array<Dynamic>, depth:Int) {
        parts.push("[");
        for (i in 0...items.length) {
            if (i > 0) parts.push(",");
            writeTo(parts, items[i], depth + 1);
        }
        parts.push("]");
    }

    function writeObject(parts:Array<String>, object:Dynamic, depth:Int) {
        var separator = "{";
        for (name in Reflect.fields(object)) {
            var value = Reflect.field(object, name);
            if (Reflect.isFunction(value)) continue;
            parts.push(separator + quote(name) + ":");
            writeTo(parts, value, depth + 1);
            separator = ",";
        }
        parts.push(separator == "{" ? "{}" : "}");
    }

    function quote(text:String):String {
        var parts = ['"'];
        var from = 0;
        for (i in 0...text.length) {
            var code = StringTools.fastCodeAt(text, i);
            if (code >= 0x20 && code != '"'.code && code != "\\".code) continue;
            parts.push(text.substring(from, i));
            parts.push(escape(code));
            from = i + 1;
        }
        parts.push(text.substring(from));
        parts.push('"');
        return parts.join("");
    }

    function escape(code:Int):String {
        if (code >= 0x20) return "\\" + String.fromCharCode(code);
        var digits = "0123456789abcdef";
        return "\\u00" + digits.charAt(code >> 4) + digits.charAt(code & 15);
    }

    inline function isOf(value:Dynamic, type:Dynamic):Bool {
        return untyped __is__(value, type);
    }
}
