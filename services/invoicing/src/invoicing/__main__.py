from invoicing.main import main

main()
