package sync;

import flash.errors.ArgumentError;
import flash.errors.Error;

private typedef Done = (Dynamic, Fault) -> Void;

/** The functions that the server may call. **/
class Handlers {
    var report:Dynamic -> Void;
    var fns:Dynamic = {};   // by "$" and the name
    var isServing = false;  // whether one is running
    var deferred:Deferred;  // what `later` has made for it

    public function new(report:Dynamic -> Void) {
        this.report = report;
    }

    public function set(name:String, fn:Dynamic) {
        if (fn == null) untyped __delete__(fns, "$" + name);
        else if (Reflect.isFunction(fn)) Reflect.setField(fns, "$" + name, fn);
        else throw new ArgumentError("what answers is a function");
    }

    /** Returns what the running function's answer is to be given to. **/
    public function later():(?result:Dynamic, ?fault:Fault) -> Void {
        if (!isServing) throw new ArgumentError("later() is for functions that the server calls");
        if (deferred == null) deferred = new Deferred();
        return deferred.finish;
    }

    /** Calls a function, and `done` with its result or a fault, once there is one. **/
    public function perform(method:String, args:Array<Dynamic>, done:Done) {
        var fn:Dynamic = Reflect.field(fns, "$" + method);
        if (fn == null) {
            done(null, new Fault(-32601, "no such function"));
            return;
        }
        var result:Dynamic = null;
        var problem:Error = null;
        isServing = true;
        try {
            result = Reflect.callMethod(null, fn, args);
        } catch (e:Error) {
            problem = e;
        } catch (e:Dynamic) {
            problem = Events.noError();
        }
        isServing = false;
        var promise = deferred;
        deferred = null;
        if (problem != null) done(null, toFault(problem));
        else if (promise == null) done(result, null);
        else promise.whenDone(function(result, error) {
            done(result, error == null ? null : toFault(error));
        });
    }

    // What the server is told of an error.
    function toFault(error:Error):Fault {
        if (Std.isOfType(error, Fault) && untyped __is__(error.code, Int)) return cast error;
        report(error);
        return new Fault(-32603, "error in the function");
    }
}

// An answer that may be known before or after somebody wants it.
private class Deferred {
    var done:Done;
    var answer:{result:Dynamic, fault:Fault};

    public function new() {}

    public function finish(?result:Dynamic, ?fault:Fault):Void {
        if (answer != null) return;
        answer = {result: result, fault: fault};
        if (done != null) done(result, fault);
    }

    public function whenDone(done:Done) {
        this.done = done;
        if (answer != null) done(answer.result, answer.fault);
    }
}
