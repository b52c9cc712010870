// Swagger UI for this server's OpenAPI document. The validator is off: it is on another server.
SwaggerUIBundle({ dom_id: "#docs", url: "openapi.json", validatorUrl: null });
