package sync;

import flash.errors.ArgumentError;

/** What can be said of a Client; what isn't said is as in Settings. **/
typedef Options = {
    ?transport:String,
    ?token:Dynamic,
    ?timeout:Float,
    ?offline:String,
    ?queueLimit:Int,
    ?pendingLimit:Int,
    ?maxMessage:Int,
    ?maxQueue:Int,
    ?maxReceived:Int,
    ?connectTimeout:Float,
    ?heartbeat:Float,
    ?reconnect:Bool,
    ?firstWait:Float,
    ?waitFactor:Float,
    ?longestWait:Float,
    ?jitter:Float,
    ?attempts:Int,
    ?onError:Dynamic -> Void,
}

/** The options of a Client with their defaults. **/
class Settings {
    /** "xml": JSON through XMLSocket; "amf": AMF3 through flash.net.Socket. **/
    public var transport:String = "xml";
    /** For the server's auth: a text, or a function that returns one at each attempt; or null. **/
    public var token:Dynamic = null;
    /** Milliseconds that a call waits for its answer, from when it is made; 0: for ever. **/
    public var timeout:Float = 10000;
    /** What happens to calls made without a connection; or "refuse". **/
    public var offline:String = "queue";
    /** Calls and notifications that wait for a connection. **/
    public var queueLimit:Int = 256;
    /** Calls that wait for their answer, and calls of the server in work. **/
    public var pendingLimit:Int = 1024;
    /** Bytes of a message that is sent; the server's maxMessage. **/
    public var maxMessage:Int = 65536;
    /** Bytes sent of which the server hasn't shown that it has read them. **/
    public var maxQueue:Int = 1048576;
    /** Bytes (of JSON: characters) of a message that is received; longer ones are skipped. **/
    public var maxReceived:Int = 1048576;
    /** Milliseconds for a connection to open, and for a silent one to show life. **/
    public var connectTimeout:Float = 10000;
    /** Milliseconds of silence after which the server is asked for life; 0: never. **/
    public var heartbeat:Float = 25000;
    /** Whether a lost connection is replaced. **/
    public var reconnect:Bool = true;
    /** Milliseconds: the longest first wait. **/
    public var firstWait:Float = 250;
    /** By which it grows with each attempt. **/
    public var waitFactor:Float = 2;
    /** Milliseconds: the longest wait of all. **/
    public var longestWait:Float = 10000;
    /** The share of a wait, up to 1, that is left to chance. **/
    public var jitter:Float = 1;
    /** In a row, without a connection that held; 0: no limit. **/
    public var attempts:Int = 0;
    /** Gets what goes wrong in listeners, in what the server sends, and faults nobody takes. **/
    public var onError:Dynamic -> Void = null;

    public function new(?options:Dynamic) {
        var known = ["transport", "token", "timeout", "offline", "queueLimit", "pendingLimit",
            "maxMessage", "maxQueue", "maxReceived", "connectTimeout", "heartbeat", "reconnect", "firstWait",
            "waitFactor", "longestWait", "jitter", "attempts", "onError"];
        for (name in Reflect.fields(options)) {
            if (known.indexOf(name) < 0) {
                throw new ArgumentError('unknown option "$name"; there are ' + known.join(", "));
            }
            var value:Dynamic = Reflect.field(options, name);
            if (untyped __is__(Reflect.field(this, name), Float)) {
                demand(untyped __is__(value, Float) && value >= 0, '$name is a number from 0 on');
            }
            Reflect.setField(this, name, value);
        }
        demand(transport == "xml" || transport == "amf", 'transport is "xml" or "amf"');
        demand(offline == "queue" || offline == "refuse", 'offline is "queue" or "refuse"');
        demand(jitter >= 0 && jitter <= 1, "jitter is 0 to 1");
    }

    function demand(holds:Bool, what:String) {
        if (!holds) throw new ArgumentError(what);
    }
}
