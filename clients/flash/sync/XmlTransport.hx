package sync;

import flash.errors.Error;
import flash.events.DataEvent;
import flash.events.EventDispatcher;
import flash.net.XMLSocket;
import flash.utils.ByteArray;

/** JSON through XMLSocket: texts that end with a NUL, for classes with framing "null". **/
class XmlTransport extends Transport {
    var json = new Json();

    public function new() {}

    override public function pack(message:Dynamic):Dynamic {
        return json.write(message);
    }

    override public function sizeOf(packed:Dynamic):Int {
        var bytes = new ByteArray();
        bytes.writeUTFBytes(packed);
        return bytes.length;
    }

    override public function send(packed:Dynamic) {
        socket.send(packed);
    }

    override function makeSocket():EventDispatcher {
        var made = new XMLSocket();
        made.addEventListener(DataEvent.DATA, function(e:DataEvent) {
            if (socket == made) receive(e.data);
        });
        return made;
    }

    function receive(text:String) {
        var message:Dynamic = null;
        var problem = null;
        if (text.length > maxReceived) {
            problem = "a message longer than maxReceived";
        } else {
            try {
                message = json.read(text);
            } catch (e:Error) {
                problem = "what is not JSON: " + text.substr(0, 60);
            }
        }
        onMessage(message, text.length, problem);
    }
}
