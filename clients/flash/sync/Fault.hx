package sync;

import flash.errors.Error;

/**
    Why a call failed. `code` is the server's number (-32601: no such function, ...) or, when
    the server has not answered, one of

        "timeout"       no answer in time
        "disconnected"  the connection broke between call and answer, or the server has gone: it
                        may have been carried out
        "offline"       there is no connection, and calls are not to wait for one
        "full"          a limit is reached: pendingLimit, queueLimit or maxQueue
        "tooLong"       the message is longer than maxMessage
        "closed"        the client is closed

    A function that the server calls throws one with a whole number to refuse. The text is in
    `message`, as any Error's.
**/
class Fault extends Error {
    /** A whole number of the server's, or one of the words above. **/
    public var code:Dynamic;
    /** What the server has added. **/
    public var data:Dynamic;
    /** The function that was called. **/
    public var method:String;

    public function new(code:Dynamic, message:String, ?data:Dynamic, ?method:String) {
        super(message);
        this.code = code;
        this.data = data;
        this.method = method;
    }
}
