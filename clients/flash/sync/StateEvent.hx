package sync;

import flash.events.Event;

/**
    What a Client dispatches: "session" when the server knows nothing of us (the time to log
    in), and "state" when `state` has changed, with what is known of the change.
**/
class StateEvent extends Event {
    /** "connecting", "open", "waiting" (to connect again) or "closed" (for good). **/
    public var state:String;
    /** Why the connection was lost. **/
    public var reason:String;
    /** When waiting: milliseconds until the next attempt. **/
    public var delay:Float;
    /** Attempts in a row without a connection that held. **/
    public var attempt:Int;
    /** When open: whether the session goes on, and how many messages were missed. **/
    public var resumed:Bool;
    public var missed:Int;

    public function new(type:String, state:String, reason:String = "", delay:Float = 0,
            attempt:Int = 0, resumed:Bool = false, missed:Int = 0) {
        super(type);
        this.state = state;
        this.reason = reason;
        this.delay = delay;
        this.attempt = attempt;
        this.resumed = resumed;
        this.missed = missed;
    }

    override public function clone():Event {
        return new StateEvent(type, state, reason, delay, attempt, resumed, missed);
    }
}
