print("ringfort")
