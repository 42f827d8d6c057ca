package native

// Use is use, for the tests in package native_test.
var Use = use
