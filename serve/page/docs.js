// Swagger UI over this server's own document; without a validator, which is on another server.
SwaggerUIBundle({ dom_id: "#docs", url: "openapi.json", validatorUrl: null });
