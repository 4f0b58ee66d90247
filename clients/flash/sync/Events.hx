package sync;

import flash.errors.ArgumentError;
import flash.errors.Error;

private typedef Listener = {fn:Dynamic, isOnce:Bool};

/**
    What listens to a server's events. What one of the functions throws is reported, and keeps
    none of the others from being called.
**/
class Events {
    var report:Dynamic -> Void;
    var lists:Dynamic = {}; // of Listeners, by "$" and the name

    public function new(report:Dynamic -> Void) {
        this.report = report;
    }

    public function add(name:String, fn:Dynamic, isOnce:Bool) {
        if (!Reflect.isFunction(fn)) throw new ArgumentError("a listener is a function");
        Reflect.setField(lists, "$" + name, listOf(name).concat([{fn: fn, isOnce: isOnce}]));
    }

    public function remove(name:String, fn:Dynamic) {
        keep(name, [for (listener in listOf(name)) if (listener.fn != fn) listener]);
    }

    function keep(name:String, list:Array<Listener>) {
        if (list.length > 0) Reflect.setField(lists, "$" + name, list);
        else untyped __delete__(lists, "$" + name);
    }

    // A list stays as it is; others take its place.
    function listOf(name:String):Array<Listener> {
        var list:Array<Listener> = Reflect.field(lists, "$" + name);
        return list == null ? [] : list;
    }

    /** Calls those of the name, then those of "*". Names of the protocol's own are skipped. **/
    public function emit(name:String, args:Array<Dynamic>) {
        if (name.indexOf("sync.") == 0) return;
        if (name != "*") fire(name, args);
        fire("*", [(name : Dynamic)].concat(args));
    }

    /** Calls those of one name. **/
    public function fire(name:String, args:Array<Dynamic>) {
        for (listener in listOf(name)) {
            if (listOf(name).indexOf(listener) < 0) continue; // one before has removed it
            if (listener.isOnce) keep(name, [for (one in listOf(name)) if (one != listener) one]);
            attempt(listener.fn, args);
        }
    }

    /** Calls a function of the user's. **/
    public function attempt(fn:Dynamic, args:Array<Dynamic>) {
        try {
            Reflect.callMethod(null, fn, args);
        } catch (e:Error) {
            report(e);
        } catch (e:Dynamic) {
            report(noError());
        }
    }

    /**
        Instead of what was thrown and is none: where a player tells no call stack, Haxe fails
        to say what it was.
    **/
    public static function noError():Error {
        return new Error("something was thrown that is no Error");
    }
}
