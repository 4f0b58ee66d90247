local Class = require "sync.class"

describe("class", function()
  it("gives an instance the methods of its class and of those above", function()
    local Animal = Class:extend("Animal")
    function Animal:legs() return self.count end
    local Dog = Animal:extend("Dog")
    function Dog:sound() return "woof" end
    local dog = Dog:new {count = 4}
    assert.equal("woof", dog:sound())
    assert.equal(4, dog:legs())
  end)

  it("lets a subclass call the method it replaces", function()
    local Animal = Class:extend("Animal")
    function Animal:sound() return "..." end
    local Dog = Animal:extend("Dog")
    function Dog:sound() return "woof" .. Dog.super.sound(self) end
    assert.equal("woof...", Dog:new():sound())
  end)

  it("takes a method that was added later", function()
    local Animal = Class:extend("Animal")
    local dog = Animal:extend("Dog"):new()
    function Animal:late() return "late" end
    assert.equal("late", dog:late())
  end)

  it("knows what an instance and a class are", function()
    local Animal, Plant = Class:extend("Animal"), Class:extend("Plant")
    local Dog = Animal:extend("Dog")
    local dog = Dog:new()
    assert.is_true(dog:is(Dog))
    assert.is_true(dog:is(Animal))
    assert.is_true(dog:is(Class))
    assert.is_false(dog:is(Plant))
    assert.is_true(Dog:is(Animal))
    assert.is_true(Dog:is(Dog))
    assert.is_false(Animal:is(Dog))
  end)

  it("tells a class from other values", function()
    local Animal = Class:extend("Animal")
    assert.is_true(Class.isClass(Animal))
    assert.is_false(Class.isClass(Animal:new()))
    for _, value in ipairs {1, "Animal", {}, print} do
      assert.is_false(Class.isClass(value))
    end
    assert.is_false(Class.isClass(nil))
  end)

  it("says its name", function()
    local Animal = Class:extend("Animal")
    assert.equal("class Animal", tostring(Animal))
    assert.equal("Animal", tostring(Animal:new()))
    function Animal.__tostring(animal) return "animal " .. animal.count end
    assert.equal("animal 3", tostring(Animal:new {count = 3}))
    assert.equal("animal 5", tostring(Animal:extend("Dog"):new {count = 5}))
  end)

  it("wants a name", function()
    local ok, message = pcall(Class.extend, Class)
    assert.is_false(ok)
    assert.matches("extend%(name%): the name must be a string, not nil", message)
  end)

  it("blames the line that called it", function()
    local ok, message = pcall(function() Class:extend(7) end)
    assert.is_false(ok)
    assert.matches("class_spec.lua:%d+:", message)
  end)
end)
